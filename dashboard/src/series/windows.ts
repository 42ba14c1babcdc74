import type { Chart, Span } from "./queries";

/** A range of time in milliseconds since the epoch. */
export interface Window {
  from: number;
  to: number;
}

/** Fewer visible points than this, and shorter points exist: they are loaded. */
const FEWEST_VISIBLE = 80;
/** The part of a loaded range that must be visible, so that not too much is drawn. */
const LEAST_SHARE = 1 / 12;
const MINUTE_MS = 60_000;

/** The range to load for a visible one: one screen more on each side. `loaded` is kept while it is good enough. */
export function windowFor(visible: Window, loaded: Window | null, chart: Chart | undefined, extent: Window): Window {
  if (loaded !== null && chart !== undefined && isEnough(visible, loaded, chart, extent)) return loaded;
  const span = visible.to - visible.from;
  const step = Math.max(MINUTE_MS, span / 4);
  const from = Math.floor((visible.from - span) / step) * step;
  const to = Math.ceil((visible.to + span) / step) * step;
  return { from: Math.max(0, Math.min(from, extent.to - span)), to: Math.max(to, extent.from + span) };
}

function isEnough(visible: Window, loaded: Window, chart: Chart, extent: Window): boolean {
  const covers = loaded.from <= Math.max(visible.from, extent.from) && loaded.to >= Math.min(visible.to, extent.to);
  if (!covers) return false;
  const span = visible.to - visible.from;
  if (chart.periods === 1 || chart.length_seconds === null) return true;
  return span / (chart.length_seconds * 1000) >= FEWEST_VISIBLE && span / (loaded.to - loaded.from) >= LEAST_SHARE;
}

/** The slots of a chart: the start of each point, also of points without candles. */
export function slotsOf(chart: Chart): number[] {
  if (chart.start === null || chart.end === null) return [];
  if (chart.length_seconds === null) return chart.points.map((point) => Date.parse(point.open_time));
  const [start, end, length] = [Date.parse(chart.start), Date.parse(chart.end), chart.length_seconds * 1000];
  return Array.from({ length: Math.round((end - start) / length) }, (_, index) => start + index * length);
}

/** The position of an instant among the slots, as a fraction. It may lie outside of them. */
export function positionOf(slots: readonly number[], instant: number): number {
  const [first, last] = [slots[0], slots.at(-1)];
  if (first === undefined || last === undefined || slots.length < 2) return 0;
  const step = (last - first) / (slots.length - 1);
  if (instant <= first || instant >= last) {
    const edge = instant <= first ? first : last;
    return (edge === first ? 0 : slots.length - 1) + (instant - edge) / step;
  }
  let [low, high] = [0, slots.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((slots[middle] ?? 0) <= instant) low = middle;
    else high = middle;
  }
  const [before, after] = [slots[low] ?? 0, slots[high] ?? 1];
  return low + (instant - before) / (after - before);
}

/** The instant at a position among the slots. */
export function instantAt(slots: readonly number[], position: number): number {
  const [first, last] = [slots[0] ?? 0, slots.at(-1) ?? 0];
  const step = slots.length > 1 ? (last - first) / (slots.length - 1) : MINUTE_MS;
  const index = Math.floor(position);
  const [before, after] = [slots[index], slots[index + 1]];
  if (before !== undefined && after !== undefined) return before + (position - index) * (after - before);
  return position < 0 ? first + position * step : last + (position - slots.length + 1) * step;
}

export function spanAt(spans: readonly Span[], from: number, to: number): Span | undefined {
  return spans.find((span) => Date.parse(span.start) < to && Date.parse(span.end) > from);
}

const NOMINAL_MS: Record<string, number> = {
  s: 1000,
  m: MINUTE_MS,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
  M: 30 * 86_400_000,
  y: 365 * 86_400_000,
};

/** The length of a timeframe, about. */
export const nominalLength = (timeframe: string) =>
  Number.parseInt(timeframe, 10) * (NOMINAL_MS[timeframe.slice(-1)] ?? MINUTE_MS);
