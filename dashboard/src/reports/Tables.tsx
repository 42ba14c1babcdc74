import { Skeleton, Table } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { durationText } from "../app/time";
import { ErrorState } from "../components/states";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import { useLive } from "../live/LiveProvider";
import { useExchangeCompleteness } from "../overview/queries";
import { useExchangePerformance, useStats, useTopSymbols } from "./queries";
import classes from "./Reports.module.css";
import type { Range } from "./search";

interface Query {
  error: Error | null;
  isPending: boolean;
  refetch: () => unknown;
}

function Card({ title, query, children }: { title: string; query: Query; children: ReactNode }) {
  return (
    <section className={classes.card} aria-label={title}>
      <h2>{title}</h2>
      {query.error !== null ? (
        <ErrorState error={query.error} onRetry={() => void query.refetch()} />
      ) : query.isPending ? (
        <Skeleton height={180} radius="md" />
      ) : (
        children
      )}
    </section>
  );
}

/** A number with a bar as long as its share of the largest one. */
function Bar({ share, tone, children }: { share: number; tone: "failed" | "running"; children: string }) {
  const width = 100;
  return (
    <span className={classes.bar}>
      <svg width={width} height={10} aria-hidden data-tone={tone}>
        <rect width={Math.max(2, share * width)} height={10} rx={2} />
      </svg>
      <span>{children}</span>
    </span>
  );
}

/** The failed runs by error class, the most frequent first. */
export function ErrorClasses({ range }: { range: Range }) {
  const { reports: text } = useMessages();
  const numbers = useNumbers();
  const stats = useStats(range);
  const errors = Object.entries(stats.data?.errors_by_class ?? {});
  const most = errors[0]?.[1] ?? 1;
  return (
    <Card title={text.errors} query={stats}>
      {errors.length === 0 ? (
        <p className={classes.nothing}>{text.noErrors}</p>
      ) : (
        <Table verticalSpacing={7} horizontalSpacing="sm">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{text.errorClass}</Table.Th>
              <Table.Th>{text.failed}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {errors.map(([name, count]) => (
              <Table.Tr key={name}>
                <Table.Td>
                  <code>{name}</code>
                </Table.Td>
                <Table.Td>
                  <Bar share={count / most} tone="failed">
                    {numbers.whole(count)}
                  </Bar>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      <p className={classes.more}>
        <Link to="/runs" search={{ status: "failed" }}>
          {text.failedRuns}
        </Link>
      </p>
    </Card>
  );
}

/** The symbols with the most candles. */
export function TopSymbols({ range }: { range: Range }) {
  const { reports: text } = useMessages();
  const { language } = useLanguage();
  const numbers = useNumbers();
  const symbols = useTopSymbols(range);
  const most = Math.max(...(symbols.data?.map((each) => each.total_records) ?? []), 1);
  return (
    <Card title={text.topSymbols} query={symbols}>
      <div className={classes.scroll}>
        <Table verticalSpacing={7} horizontalSpacing="sm" miw={470}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{text.symbol}</Table.Th>
              <Table.Th>{text.candles}</Table.Th>
              <Table.Th ta="right">{text.runs}</Table.Th>
              <Table.Th ta="right">{text.successRate}</Table.Th>
              <Table.Th ta="right">{text.average}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {symbols.data?.map((each) => (
              <Table.Tr key={each.symbol}>
                <Table.Td fw={580}>
                  <Link to="/runs" search={{ symbol: each.symbol }} className={classes.link}>
                    {each.symbol}
                  </Link>
                </Table.Td>
                <Table.Td>
                  <Bar share={each.total_records / most} tone="running">
                    {numbers.compact(each.total_records)}
                  </Bar>
                </Table.Td>
                <Table.Td ta="right">{numbers.whole(each.executions)}</Table.Td>
                <Table.Td ta="right">{numbers.percent(each.success_rate)}</Table.Td>
                <Table.Td ta="right">
                  {each.avg_duration === null ? "–" : durationText(each.avg_duration, language)}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
    </Card>
  );
}

/** The finished runs of each exchange, with its health and how whole its series are. */
export function Exchanges({ range }: { range: Range }) {
  const { reports: text, overview } = useMessages();
  const { language } = useLanguage();
  const numbers = useNumbers();
  const report = useExchangePerformance(range);
  const whole = useExchangeCompleteness();
  const { exchanges } = useLive();
  const health = (name: string) => {
    const state = exchanges.get(name)?.state;
    return state === undefined ? "–" : state === "ok" ? overview.exchangeOk : state;
  };
  const percent = (name: string) => {
    const value = whole.data?.get(name);
    return value === undefined || value === null ? "–" : numbers.percent(value);
  };
  return (
    <Card title={text.exchanges} query={report}>
      <div className={classes.scroll}>
        <Table verticalSpacing="sm" horizontalSpacing="sm" miw={520}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{text.exchange}</Table.Th>
              <Table.Th>{text.health}</Table.Th>
              <Table.Th ta="right">{text.average}</Table.Th>
              <Table.Th ta="right">{text.candles}</Table.Th>
              <Table.Th ta="right">{text.whole}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {report.data?.map((each) => (
              <Table.Tr key={each.exchange}>
                <Table.Td fw={580}>
                  <Link to="/runs" search={{ exchange: each.exchange }} className={classes.link}>
                    {each.exchange}
                  </Link>
                </Table.Td>
                <Table.Td>{health(each.exchange)}</Table.Td>
                <Table.Td ta="right">{durationText(each.avg_duration, language)}</Table.Td>
                <Table.Td ta="right">{numbers.whole(each.total_records)}</Table.Td>
                <Table.Td ta="right">{percent(each.exchange)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
    </Card>
  );
}
