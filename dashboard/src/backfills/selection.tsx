import { absoluteTime, useTimeStyle } from "../app/time";
import { useMessages } from "../i18n";
import type { Backfill } from "./queries";

interface Select {
  ids?: number[];
  exchange?: string;
  symbol?: string;
  enabled?: boolean;
}

/** The selection of a backfill in words, such as `BTC/USDT · binance · 1m, 5m`. */
export function useSelectionText(): (backfill: Backfill) => string {
  const { backfills: text } = useMessages();
  return ({ selector }) => {
    const select = (selector.select ?? {}) as Select;
    const series = (selector.series ?? []) as { exchange: string; symbol: string; timeframe: string }[];
    const timeframes = (selector.timeframes ?? []) as string[];
    const first = series[0];
    const parts = [
      select.ids !== undefined && text.ofConfigs(select.ids),
      select.symbol !== undefined && (select.symbol === "*" ? text.allSymbols : select.symbol),
      select.exchange,
      select.enabled !== undefined && (select.enabled ? text.onlyEnabled : text.onlyDisabled),
      first !== undefined && `${first.symbol} · ${first.exchange} · ${first.timeframe}`,
      series.length > 1 && text.andOthers(series.length - 1),
      timeframes.length > 0 && timeframes.join(", "),
    ].filter((each) => typeof each === "string" && each !== "");
    return parts.join(" · ");
  };
}

/** `2026-01-01 – 2026-02-01 12:30`: minutes only where a day is not whole. The tooltip has the exact times. */
export function RangeText({ start, end }: { start: string | null; end: string }) {
  const { backfills: text } = useMessages();
  const { style } = useTimeStyle();
  const shown = (instant: string) => absoluteTime(instant, style).slice(0, 16).replace(" 00:00", "");
  return (
    <span title={`${start ?? text.listing} – ${end}`}>
      {start === null ? text.listing : shown(start)} – {shown(end)}
    </span>
  );
}
