import { Skeleton, Table } from "@mantine/core";
import { ErrorState } from "../components/states";
import { useMessages, useNumbers } from "../i18n";
import { useRejected } from "./queries";
import classes from "./SeriesPage.module.css";
import type { SeriesName } from "./search";
import { timeText } from "./times";

/** Rows of the exchange that cannot be candles. */
export function Rejected({ name }: { name: SeriesName }) {
  const { series: text } = useMessages();
  const numbers = useNumbers();
  const rejected = useRejected(name);
  if (rejected.error !== null) return <ErrorState error={rejected.error} onRetry={() => void rejected.refetch()} />;
  if (rejected.data === undefined) return <Skeleton height={60} radius="md" />;
  if (rejected.data.length === 0) return <p className={classes.nothing}>{text.noRejected}</p>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard.
    <section className={classes.table} tabIndex={0} aria-label={text.rejected}>
      <Table verticalSpacing="xs" horizontalSpacing="md">
        <Table.Thead>
          <Table.Tr>
            {[text.openTime, text.reason, text.row, text.seen, text.lastSeen].map((title) => (
              <Table.Th key={title}>{title}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rejected.data.map((each) => (
            <Table.Tr key={each.open_time + each.row}>
              <Table.Td className={classes.time}>{timeText(Date.parse(each.open_time))}</Table.Td>
              <Table.Td className={classes.words}>{each.reason}</Table.Td>
              <Table.Td>
                <code className={classes.code}>{each.row}</code>
              </Table.Td>
              <Table.Td>{text.runs(numbers.whole(each.times))}</Table.Td>
              <Table.Td className={classes.time}>{timeText(Date.parse(each.last_seen))}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}
