import { Button, Skeleton } from "@mantine/core";
import { IconArrowRight } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { durationText } from "../app/time";
import { PageHeader } from "../components/PageHeader";
import { EmptyState, ErrorState } from "../components/states";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import { RunTable } from "../runs/RunTable";
import { Exchanges } from "./Exchanges";
import { Headline } from "./Headline";
import classes from "./OverviewPage.module.css";
import { useFailures, useStatus } from "./queries";
import { Services } from "./Services";
import { Timeline } from "./Timeline";

const FAILURES = 5;

/** What is healthy and what is not, in one look. */
export function OverviewPage() {
  const { overview: text } = useMessages();
  return (
    <>
      <PageHeader title={text.title} />
      <div className={classes.top}>
        <Headline />
        <Figures />
      </div>
      <Attention />
      <h2 className={classes.heading}>{text.exchanges}</h2>
      <Exchanges />
      <Services />
      <Timeline />
      <LastRuns />
    </>
  );
}

/** The four figures of the operator's guide. */
function Figures() {
  const { overview: text } = useMessages();
  const { language } = useLanguage();
  const numbers = useNumbers();
  const status = useStatus();
  if (status.error !== null) return <ErrorState error={status.error} onRetry={() => void status.refetch()} />;
  if (status.data === undefined) return <Skeleton height={186} radius="md" />;
  const { enabled_configs, total_configs, active_jobs, stats } = status.data;
  const decided = stats.successful_executions + stats.failed_executions;
  const average = stats.average_duration_seconds;
  return (
    <dl className={classes.figures}>
      <Figure label={text.activeConfigs} note={text.ofConfigs(total_configs)}>
        {numbers.whole(enabled_configs)}
      </Figure>
      <Figure label={text.activeJobs} note={text.activeJobsHint}>
        {numbers.whole(active_jobs)}
      </Figure>
      <Figure
        label={text.successRate}
        note={average === null ? text.last24 : `${text.last24} · ø ${durationText(average, language)}`}
        low={decided > 0 && stats.success_rate < 95}
      >
        {decided === 0 ? "–" : numbers.percent(stats.success_rate)}
      </Figure>
      <Figure label={text.records} note={text.last24}>
        {numbers.whole(stats.total_records_collected)}
      </Figure>
    </dl>
  );
}

function Figure({ label, note, low, children }: { label: string; note: string; low?: boolean; children: ReactNode }) {
  return (
    <div className={classes.figure} data-low={low || undefined}>
      <dt>{label}</dt>
      <dd>
        <strong>{children}</strong>
        <span>{note}</span>
      </dd>
    </div>
  );
}

/** The latest failed runs, if there are any. */
function Attention() {
  const { overview: text } = useMessages();
  const failures = useFailures(FAILURES);
  if (failures.data === undefined || failures.data.length === 0) return null;
  return (
    <>
      <SectionTitle title={text.attention} search={{ status: "failed", since: "24h" }} />
      <RunTable runs={failures.data} label={text.attention} />
    </>
  );
}

function LastRuns() {
  const { overview: text, runs } = useMessages();
  const status = useStatus();
  const latest = status.data?.recent_executions;
  return (
    <>
      <SectionTitle title={text.lastRuns} search={{}} />
      {latest !== undefined && latest.length === 0 ? (
        <EmptyState title={runs.none} hint={runs.noneHint} />
      ) : (
        <RunTable runs={latest ?? []} isLoading={latest === undefined} label={text.lastRuns} />
      )}
    </>
  );
}

function SectionTitle({ title, search }: { title: string; search: { status?: "failed"; since?: "24h" } }) {
  const { overview: text } = useMessages();
  return (
    <div className={classes.section}>
      <h2 className={classes.heading}>{title}</h2>
      <Button
        variant="subtle"
        size="compact-sm"
        rightSection={<IconArrowRight size={14} aria-hidden />}
        renderRoot={(props) => <Link to="/runs" search={search} {...props} />}
      >
        {text.allRuns}
      </Button>
    </div>
  );
}
