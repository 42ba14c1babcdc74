import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef } from "react";
import { useMessages, useNumbers } from "../i18n";
import type { ChartPoint } from "./queries";
import classes from "./SeriesPage.module.css";
import { timeText } from "./times";
import type { Window } from "./windows";

const ROW = 30;
const COLUMNS = 7;

/** The visible points of the chart as a table, the newest first. Only the rows on the screen exist. */
export function PointTable({ points, visible }: { points: readonly ChartPoint[]; visible: Window }) {
  const { series: text } = useMessages();
  const numbers = useNumbers();
  const shown = useMemo(
    () =>
      points
        .filter((point) => {
          const at = Date.parse(point.open_time);
          return at >= visible.from && at < visible.to;
        })
        .reverse(),
    [points, visible],
  );
  const box = useRef<HTMLElement>(null);
  const rows = useVirtualizer({
    count: shown.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW,
    overscan: 8,
  });
  const items = rows.getVirtualItems();
  const below = rows.getTotalSize() - (items.at(-1)?.end ?? 0);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard.
    <section ref={box} className={classes.points} tabIndex={0} aria-label={text.asTable}>
      <table aria-rowcount={shown.length + 1}>
        <thead>
          <tr aria-rowindex={1}>
            {[text.openTime, text.open, text.high, text.low, text.close, text.volume, text.candles].map((title) => (
              <th key={title} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <Space height={items[0]?.start ?? 0} />
          {items.map(({ index }) => {
            const point = shown[index];
            if (point === undefined) return null;
            return (
              <tr key={point.open_time} aria-rowindex={index + 2} style={{ height: ROW }}>
                <td className={classes.time}>{timeText(Date.parse(point.open_time))}</td>
                {(["open", "high", "low", "close"] as const).map((name) => (
                  <td key={name}>{numbers.price(point[name])}</td>
                ))}
                <td>{numbers.compact(point.volume)}</td>
                <td>{numbers.whole(point.candles)}</td>
              </tr>
            );
          })}
          <Space height={below} />
        </tbody>
      </table>
      {shown.length === 0 && <p className={classes.nothing}>{text.noPoints}</p>}
    </section>
  );
}

/** The place of the rows that do not exist. */
function Space({ height }: { height: number }) {
  if (height <= 0) return null;
  return (
    <tr aria-hidden style={{ height }}>
      <td colSpan={COLUMNS} />
    </tr>
  );
}
