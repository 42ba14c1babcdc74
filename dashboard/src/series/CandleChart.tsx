import { useComputedColorScheme } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useEffect, useRef, useState } from "react";
import { useMessages, useNumbers } from "../i18n";
import classes from "./CandleChart.module.css";
import { ClassMark } from "./ClassMark";
import {
  CandlestickSeries,
  createChartWithNonce,
  HistogramSeries,
  type IChartApi,
  type ISeriesApi,
  type MouseEventParams,
  type UTCTimestamp,
  WholeTimeLabels,
} from "./lightweight";
import type { Chart, ChartPoint, Span } from "./queries";
import { Shading } from "./shading";
import { timeText } from "./times";
import { instantAt, positionOf, slotsOf, spanAt, type Window } from "./windows";

const SETTLED_MS = 180;

interface Props {
  chart: Chart;
  spans: readonly Span[];
  visible: Window;
  onVisible: (visible: Window) => void;
  label: string;
}

interface Parts {
  chart: IChartApi;
  candles: ISeriesApi<"Candlestick">;
  volumes: ISeriesApi<"Histogram">;
  shading: Shading;
}

interface Pointed {
  point: ChartPoint | undefined;
  span: Span | undefined;
  at: number;
}

/** Candles with the spans without candles behind them. Dragging and the wheel move and zoom the visible range. */
export function CandleChart({ chart, spans, visible, onVisible, label }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const parts = useRef<Parts | null>(null);
  /** The slots on the screen, and whether the range on it was set by this component. */
  const shown = useRef<{ slots: number[]; chart: Chart; spans: readonly Span[]; asked: Window }>({
    slots: [],
    chart,
    spans,
    asked: visible,
  });
  const [pointed, setPointed] = useState<Pointed | null>(null);
  const scheme = useComputedColorScheme("light");
  const settled = useDebouncedCallback((range: Window) => {
    shown.current.asked = range;
    onVisible(range);
  }, SETTLED_MS);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the colours of the canvas belong to the scheme.
  useEffect(() => {
    if (box.current === null) return;
    const made = build(box.current);
    parts.current = made;
    const moved = () => {
      const range = made.chart.timeScale().getVisibleLogicalRange();
      const { slots, asked } = shown.current;
      if (range === null || slots.length < 2) return;
      const now = { from: instantAt(slots, range.from + 0.5), to: instantAt(slots, range.to + 0.5) };
      const tolerance = (asked.to - asked.from) / 200;
      if (Math.abs(now.from - asked.from) > tolerance || Math.abs(now.to - asked.to) > tolerance) settled(now);
      else settled.cancel();
    };
    // A chart of another width keeps the width of its candles, and so shows another range. Nobody asked for that.
    const resized = () => place(made, shown.current);
    const hovered = (event: MouseEventParams) => setPointed(pointedAt(event, shown.current));
    made.chart.timeScale().subscribeVisibleLogicalRangeChange(moved);
    made.chart.timeScale().subscribeSizeChange(resized);
    made.chart.subscribeCrosshairMove(hovered);
    fill(made, shown.current);
    return () => {
      parts.current = null;
      made.chart.remove();
    };
  }, [scheme]);

  useEffect(() => {
    shown.current = { ...shown.current, slots: slotsOf(chart), chart };
    if (parts.current !== null) fill(parts.current, shown.current);
  }, [chart]);
  useEffect(() => {
    shown.current = { ...shown.current, spans };
    parts.current?.shading.show(spans, shown.current.slots);
  }, [spans]);
  useEffect(() => {
    if (shown.current.asked === visible) return;
    settled.cancel(); // the newer choice counts
    shown.current = { ...shown.current, asked: visible };
    if (parts.current !== null) place(parts.current, shown.current);
  }, [visible, settled]);

  return (
    <div className={classes.frame}>
      <Legend pointed={pointed} />
      <div ref={box} className={classes.box} role="figure" aria-label={label} />
    </div>
  );
}

function build(box: HTMLElement): Parts {
  const style = getComputedStyle(document.documentElement);
  const tone = (name: string) => style.getPropertyValue(name).trim();
  const chart = createChartWithNonce(box, {
    autoSize: true,
    layout: {
      background: { color: "transparent" },
      textColor: tone("--mantine-color-dimmed"),
      fontFamily: tone("--mantine-font-family"),
      attributionLogo: true,
    },
    grid: { vertLines: { color: tone("--line") }, horzLines: { color: tone("--line") } },
    rightPriceScale: { borderColor: tone("--line") },
    timeScale: { borderColor: tone("--line"), timeVisible: true, minBarSpacing: 0.2, rightOffset: 0 },
    crosshair: { mode: 0 },
  });
  const [up, down] = [tone("--success"), tone("--failed")];
  // A falling candle is filled and a rising one is hollow, so the direction is not shown by colour alone.
  const candles = chart.addSeries(CandlestickSeries, {
    upColor: "transparent",
    downColor: down,
    borderUpColor: up,
    borderDownColor: down,
    wickUpColor: up,
    wickDownColor: down,
    priceLineVisible: false,
  });
  candles.priceScale().applyOptions({ scaleMargins: { top: 0.14, bottom: 0.24 } });
  const volumes = chart.addSeries(HistogramSeries, {
    color: tone("--line"),
    priceFormat: { type: "volume" },
    priceScaleId: "",
    priceLineVisible: false,
    lastValueVisible: false,
  });
  volumes.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
  const shading = new Shading({ open: tone("--warning"), lost: tone("--failed"), harmless: tone("--skipped") });
  candles.attachPrimitive(shading);
  candles.attachPrimitive(new WholeTimeLabels());
  return { chart, candles, volumes, shading };
}

type Shown = { slots: number[]; chart: Chart; spans: readonly Span[]; asked: Window };

/** Sets the data. Slots without candles stay empty, so that the axis of time has no jumps. */
function fill(parts: Parts, shown: Shown): void {
  const points = new Map(shown.chart.points.map((point) => [Date.parse(point.open_time), point]));
  const slots = shown.slots.map((slot) => ({ time: (slot / 1000) as UTCTimestamp, point: points.get(slot) }));
  parts.candles.applyOptions({ priceFormat: priceFormat(shown.chart.points) });
  parts.candles.setData(
    slots.map(({ time, point }) =>
      point === undefined ? { time } : { time, open: point.open, high: point.high, low: point.low, close: point.close },
    ),
  );
  parts.volumes.setData(
    slots.map(({ time, point }) => (point === undefined ? { time } : { time, value: point.volume })),
  );
  parts.shading.show(shown.spans, shown.slots);
  place(parts, shown);
}

function place(parts: Parts, { slots, asked }: Shown): void {
  if (slots.length < 2) return;
  const [from, to] = [positionOf(slots, asked.from) - 0.5, positionOf(slots, asked.to) - 0.5];
  parts.chart.timeScale().setVisibleLogicalRange({ from, to });
}

/** As many decimals as the smallest price needs. */
function priceFormat(points: readonly ChartPoint[]) {
  const least = points.reduce((found, point) => (point.low > 0 ? Math.min(found, point.low) : found), 1e9);
  const precision = Math.min(12, Math.max(2, 4 - Math.floor(Math.log10(least))));
  return { type: "price" as const, precision, minMove: 10 ** -precision };
}

function pointedAt(event: MouseEventParams, shown: Shown): Pointed | null {
  const { slots, chart, spans } = shown;
  if (event.logical === undefined || event.point === undefined) return null;
  const index = Math.round(event.logical);
  const at = slots[index];
  if (at === undefined) return null;
  const end = slots[index + 1] ?? at + 1;
  return {
    at,
    point: chart.points.find((point) => Date.parse(point.open_time) === at),
    span: spanAt(spans, at, end),
  };
}

/** What the pointer is on: the values of a candle, or why there is none. */
function Legend({ pointed }: { pointed: Pointed | null }) {
  const { series: text } = useMessages();
  const numbers = useNumbers();
  if (pointed === null) return <div className={classes.legend}>{text.hoverHint}</div>;
  const { point, span, at } = pointed;
  return (
    <div className={classes.legend}>
      <strong>{timeText(at)}</strong>
      {point !== undefined && (
        <span className={classes.values}>
          {(["open", "high", "low", "close"] as const).map((name) => (
            <span key={name}>
              {text[name]} <b>{numbers.price(point[name])}</b>
            </span>
          ))}
          <span>
            {text.volume} <b>{numbers.compact(point.volume)}</b>
          </span>
        </span>
      )}
      {span !== undefined && (
        <span className={classes.evidence}>
          <ClassMark absenceClass={span.absence_class} /> {timeText(Date.parse(span.start))} –{" "}
          {timeText(Date.parse(span.end))} · {span.evidence ?? text.noEvidence}
          {span.level > 0 && ` · ${text.level(span.level)}`}
          {(span.proof ?? []).length > 0 && ` · ${text.proof((span.proof ?? []).length)}`}
          {typeof span.recheck_at === "string" && ` · ${text.recheckAt(timeText(Date.parse(span.recheck_at)))}`}
        </span>
      )}
    </div>
  );
}
