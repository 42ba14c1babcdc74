import { createContext, type ReactNode, useContext, useMemo, useState, useSyncExternalStore } from "react";
import { LazyTooltip } from "../components/LazyTooltip";
import { useLanguage } from "../i18n";

/** How times are shown. `relative`: as a distance from now, with the exact time in the tooltip. */
export type TimeStyle = "utc" | "local" | "relative";
const KEY = "candlekeep-times";

function initialStyle(): TimeStyle {
  const chosen = localStorage.getItem(KEY);
  return chosen === "local" || chosen === "relative" ? chosen : "utc";
}

const TimeContext = createContext<{ style: TimeStyle; setStyle: (style: TimeStyle) => void } | null>(null);

export function TimeProvider({ children }: { children: ReactNode }) {
  const [style, setStyle] = useState<TimeStyle>(initialStyle);
  const value = useMemo(
    () => ({
      style,
      setStyle(next: TimeStyle) {
        localStorage.setItem(KEY, next);
        setStyle(next);
      },
    }),
    [style],
  );
  return <TimeContext value={value}>{children}</TimeContext>;
}

export function useTimeStyle() {
  const value = useContext(TimeContext);
  if (value === null) throw new Error("TimeProvider is missing");
  return value;
}

/** One timer for all relative times of the page. */
let now = Date.now();
const listeners = new Set<() => void>();
let timer: number | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  now = Date.now();
  timer ??= window.setInterval(() => {
    now = Date.now();
    for (const each of listeners) each();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      window.clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The current time in milliseconds; renders again each second. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

/** A span in its two largest units: `3 s`, `2 min 5 s`, `1 h 4 min`, `3 d`. */
export function spanText(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const days = Math.floor(seconds / 86_400);
  const hours = Math.floor((seconds % 86_400) / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (days > 0) return hours > 0 && days < 10 ? `${days} d ${hours} h` : `${days} d`;
  if (hours > 0) return minutes > 0 ? `${hours} h ${minutes} min` : `${hours} h`;
  if (minutes > 0) return seconds % 60 > 0 && minutes < 10 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  return `${seconds} s`;
}

/** A duration in seconds, as precise as a person needs it. */
export function durationText(seconds: number, language: string): string {
  if (seconds >= 60) return spanText(seconds * 1000);
  return `${withDigits(language, seconds < 10 ? 2 : 1).format(seconds)} s`;
}

const formats = new Map<string, Intl.NumberFormat>();

/** Making a format takes longer than to render a row, so it is made once. */
function withDigits(language: string, digits: number): Intl.NumberFormat {
  const key = `${language} ${digits}`;
  const known = formats.get(key);
  if (known !== undefined) return known;
  const made = new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  formats.set(key, made);
  return made;
}

/** `2026-11-27 19:04:05 UTC`: the same order in every language, so that columns line up and sort. */
export function absoluteTime(instant: string | number, style: TimeStyle): string {
  const date = new Date(instant);
  if (style !== "local") return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const offset = -date.getTimezoneOffset();
  const sign = offset < 0 ? "−" : "+";
  const zone = `${sign}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${zone}`;
}

function RelativeText({ instant }: { instant: number }) {
  const current = useNow();
  const { messages } = useLanguage();
  const distance = instant - current;
  if (Math.abs(distance) < 1000) return messages.time.now;
  return distance > 0 ? messages.time.in(spanText(distance)) : messages.time.ago(spanText(-distance));
}

/** A time in the style of the person's settings. The tooltip has the other styles. */
export function Time({ value, zone = true }: { value: string | null | undefined; zone?: boolean }) {
  const { style } = useTimeStyle();
  const { messages } = useLanguage();
  if (value === null || value === undefined) return <span>{messages.time.none}</span>;
  const absolute = absoluteTime(value, style);
  const shown = zone ? absolute : absolute.slice(0, 19);
  const tooltip = () =>
    style === "relative" ? absolute : `${absolute} · ${messages.time.ago(spanText(Date.now() - Date.parse(value)))}`;
  return (
    <LazyTooltip label={tooltip} openDelay={300} events={{ hover: true, focus: false, touch: true }}>
      <time dateTime={value}>{style === "relative" ? <RelativeText instant={Date.parse(value)} /> : shown}</time>
    </LazyTooltip>
  );
}
