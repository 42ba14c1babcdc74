import { Table } from "@mantine/core";
import { useMessages, useNumbers } from "../i18n";
import type { ChartPoint } from "./queries";
import classes from "./SeriesPage.module.css";
import { timeText } from "./times";
import type { Window } from "./windows";

const SHOWN = 500;

/** The visible points of the chart as a table, the newest first. */
export function PointTable({ points, visible }: { points: readonly ChartPoint[]; visible: Window }) {
  const { series: text } = useMessages();
  const numbers = useNumbers();
  const inRange = points.filter((point) => {
    const at = Date.parse(point.open_time);
    return at >= visible.from && at < visible.to;
  });
  const rows = inRange.slice(-SHOWN).reverse();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard.
    <section className={classes.points} tabIndex={0} aria-label={text.asTable}>
      <Table stickyHeader verticalSpacing={4} horizontalSpacing="md">
        <Table.Thead>
          <Table.Tr>
            {[text.openTime, text.open, text.high, text.low, text.close, text.volume, text.candles].map((title) => (
              <Table.Th key={title}>{title}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((point) => (
            <Table.Tr key={point.open_time}>
              <Table.Td className={classes.time}>{timeText(Date.parse(point.open_time))}</Table.Td>
              {(["open", "high", "low", "close"] as const).map((name) => (
                <Table.Td key={name}>{numbers.price(point[name])}</Table.Td>
              ))}
              <Table.Td>{numbers.compact(point.volume)}</Table.Td>
              <Table.Td>{numbers.whole(point.candles)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {inRange.length > SHOWN && <p className={classes.more}>{text.morePoints(SHOWN)}</p>}
      {inRange.length === 0 && <p className={classes.nothing}>{text.noPoints}</p>}
    </section>
  );
}
