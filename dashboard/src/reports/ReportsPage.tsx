import { SegmentedControl, Skeleton } from "@mantine/core";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { durationText } from "../app/time";
import { PageHeader } from "../components/PageHeader";
import { EmptyState, ErrorState } from "../components/states";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import { Charts } from "./Charts";
import { useHistory, useStats } from "./queries";
import classes from "./Reports.module.css";
import type { Range } from "./search";
import { ErrorClasses, Exchanges, TopSymbols } from "./Tables";

/** How the runs went: over time, by error, by symbol and by exchange. The range is in the address. */
export function ReportsPage() {
  const { range = "7d" } = useSearch({ from: "/reports" });
  const navigate = useNavigate({ from: "/reports" });
  const { reports: text } = useMessages();
  const history = useHistory(range);
  const isEmpty = history.data?.every((each) => each.executions === 0) === true;
  return (
    <>
      <PageHeader title={text.title} note={text.note}>
        <SegmentedControl
          aria-label={text.range}
          value={range}
          onChange={(value) => void navigate({ search: { range: value as Range }, replace: true })}
          data={(["24h", "7d", "30d"] as const).map((value) => ({ value, label: text.ranges[value] }))}
        />
      </PageHeader>
      {history.error !== null ? (
        <ErrorState error={history.error} onRetry={() => void history.refetch()} />
      ) : isEmpty ? (
        <EmptyState title={text.none} hint={text.noneHint} />
      ) : (
        <>
          <Sums range={range} />
          {history.data === undefined ? <Skeleton height={320} radius="md" /> : <Charts history={history.data} />}
          <div className={classes.columns}>
            <ErrorClasses range={range} />
            <TopSymbols range={range} />
          </div>
          <Exchanges range={range} />
        </>
      )}
    </>
  );
}

/** The sums over the whole range. */
function Sums({ range }: { range: Range }) {
  const { reports: text } = useMessages();
  const { language } = useLanguage();
  const numbers = useNumbers();
  const stats = useStats(range);
  if (stats.error !== null) return <ErrorState error={stats.error} onRetry={() => void stats.refetch()} />;
  if (stats.data === undefined) return <Skeleton height={86} radius="md" mb="md" />;
  const { data } = stats;
  const seconds = (value: number | null) => (value === null ? "–" : durationText(value, language));
  const decided = data.successful_executions + data.failed_executions;
  const facts = [
    [text.runs, numbers.whole(data.total_executions)],
    [text.successRate, decided === 0 ? "–" : numbers.percent(data.success_rate)],
    [text.failed, numbers.whole(data.failed_executions)],
    [text.median, seconds(data.p50_duration_seconds)],
    [text.p95, seconds(data.p95_duration_seconds)],
    [text.candles, numbers.whole(data.total_records_collected)],
  ] as const;
  return (
    <dl className={classes.sums}>
      {facts.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
