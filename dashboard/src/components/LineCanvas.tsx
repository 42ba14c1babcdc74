import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { absoluteTime } from "../app/time";
import type { Line } from "./LineChart";
import classes from "./LineChart.module.css";

const HEIGHT = 220;
const AXIS_FONT = "12px system-ui, sans-serif";
const DAY_SECONDS = 86_400;
const FILL_OPACITY = "1f";

export interface CanvasProps {
  /** In seconds since the epoch, ascending. */
  times: readonly number[];
  lines: readonly Line[];
  format: (value: number) => string;
  utc: boolean;
  timeLabel: string;
  min: number;
  max?: number | undefined;
}

/** The places of values between two gaps: a line through them would not be visible, so they are drawn as points. */
function isolated(values: ArrayLike<number | null | undefined>): number[] {
  const has = (index: number) => values[index] !== null && values[index] !== undefined;
  return Array.from(values, (_, index) => index).filter((index) => has(index) && !has(index - 1) && !has(index + 1));
}

/** The lines on a canvas, with the values at the pointer below. In a file of its own, so that uPlot loads on demand. */
export default function LineCanvas({ times, lines, format, utc, timeLabel, min, max }: CanvasProps) {
  const frame = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(null);
  const scheme = useComputedColorScheme();
  const data = useMemo(
    () => [times, ...lines.map((line) => line.values)] as unknown as uPlot.AlignedData,
    [times, lines],
  );
  const latest = useRef({ data, format });
  latest.current = { data, format };
  const names = lines.map((line) => `${line.label} ${line.tone}`).join("\n");

  // biome-ignore lint/correctness/useExhaustiveDependencies: new data alone must not make a new chart, see below.
  useEffect(() => {
    const node = frame.current;
    if (node === null) return;
    const style = getComputedStyle(node);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const shown = (_: uPlot, value: number | null) => (value === null ? "–" : latest.current.format(value));
    const axis = {
      stroke: colour("--mantine-color-dimmed"),
      font: AXIS_FONT,
      grid: { stroke: colour("--line"), width: 1 },
    };
    const timeOf = (seconds: number) => absoluteTime(seconds * 1000, utc ? "utc" : "local");
    const tick = (seconds: number, step: number) => {
      const text = timeOf(seconds);
      return step >= DAY_SECONDS || text.slice(11, 16) === "00:00" ? text.slice(5, 10) : text.slice(11, 16);
    };
    const drawn = new uPlot(
      {
        width: node.clientWidth,
        height: HEIGHT,
        ...(utc && { tzDate: (seconds: number) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") }),
        scales: { y: { range: (_, __, largest) => [min, max ?? Math.max((largest ?? 0) * 1.08, min + 1e-6)] } },
        axes: [
          {
            ...axis,
            ticks: { show: false },
            size: 28,
            values: (_, ticks, __, ___, step) => ticks.map((each) => tick(each, step)),
          },
          {
            ...axis,
            ticks: { show: false },
            size: 64,
            values: (_, ticks) => ticks.map((each) => latest.current.format(each)),
          },
        ],
        series: [
          {
            label: timeLabel,
            value: (_, seconds: number | null) => (seconds === null ? "–" : timeOf(seconds).slice(0, 16)),
          },
          ...lines.map((line) => ({
            label: line.label,
            stroke: colour(`--${line.tone}`),
            width: 2,
            value: shown,
            points: { show: true, size: 6, filter: (chart: uPlot, index: number) => isolated(chart.data[index] ?? []) },
            ...(line.dash && { dash: [6, 4] }),
            ...(lines.length === 1 && { fill: `${colour(`--${line.tone}`)}${FILL_OPACITY}` }),
          })),
        ],
        legend: { markers: { dash: (_, index) => (lines[index - 1]?.dash ? "dashed" : "solid") } },
        cursor: { drag: { x: false, y: false } },
      },
      latest.current.data,
      node,
    );
    chart.current = drawn;
    const observer = new ResizeObserver(() => drawn.setSize({ width: node.clientWidth, height: HEIGHT }));
    observer.observe(node);
    return () => {
      observer.disconnect();
      drawn.destroy();
      chart.current = null;
    };
  }, [names, utc, scheme, min, max]);

  useEffect(() => chart.current?.setData(data), [data]);

  return <div ref={frame} className={classes.canvas} />;
}
