import { ActionIcon, Button, Skeleton, Table, Tooltip } from "@mantine/core";
import { IconArrowLeft, IconCheck, IconCopy, IconReload } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { api, BASE, type Run } from "../api/client";
import { isProblem } from "../api/problem";
import { spanText, Time } from "../app/time";
import { Fact, Facts } from "../components/Facts";
import { notifyDone, notifyFailed } from "../components/notify";
import { PageHeader } from "../components/PageHeader";
import { StatusMark } from "../components/StatusMark";
import { EmptyState, ErrorState } from "../components/states";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import { useCan, useSession } from "../sessions/session";
import { useRun } from "./queries";
import classes from "./RunPage.module.css";
import { RunDuration } from "./RunTable";
import { resultsOf, type TimeframeResult } from "./results";

const NOT_FOUND = 404;
const LATE_MS = 2000;

/** One run with everything that is known about it. */
export function RunPage() {
  const { logId } = useParams({ from: "/runs/$logId" });
  const run = useRun(Number(logId));
  const { runs: text } = useMessages();
  const back = (
    <Button
      component={Link}
      to="/runs"
      variant="subtle"
      size="compact-sm"
      leftSection={<IconArrowLeft size={15} aria-hidden />}
    >
      {text.back}
    </Button>
  );
  return (
    <>
      <div className={classes.back}>{back}</div>
      {isProblem(run.error, NOT_FOUND) ? (
        <EmptyState title={text.notFound} hint={text.notFoundHint} />
      ) : run.error !== null ? (
        <ErrorState error={run.error} onRetry={() => void run.refetch()} />
      ) : run.data === undefined ? (
        <Skeleton height={320} radius="md" />
      ) : (
        <Details run={run.data} />
      )}
    </>
  );
}

function Details({ run }: { run: Run }) {
  const { messages } = useLanguage();
  const numbers = useNumbers();
  const { runs: text } = messages;
  const late = Date.parse(run.started_at) - Date.parse(run.scheduled_for);
  return (
    <>
      <PageHeader title={`${run.symbol} · ${run.exchange}`} note={<StatusMark status={run.status} soft />}>
        <CopyButton label={text.copyJson} value={JSON.stringify(run, null, 2)} />
        <RunAgain run={run} />
      </PageHeader>
      {run.error_message !== null && (
        <section className={classes.error} aria-label={text.error} data-status={run.status}>
          <strong>{run.error_class ?? text.error}</strong>
          <p>{run.error_message}</p>
        </section>
      )}
      <Facts leastWidth={232} className={classes.facts}>
        <Fact label={text.started}>
          <Time value={run.started_at} />
          {late > LATE_MS && <small>{text.lateness(spanText(late))}</small>}
        </Fact>
        <Fact label={text.finished}>
          {run.finished_at === null ? text.stillRunning : <Time value={run.finished_at} />}
        </Fact>
        <Fact label={text.duration}>
          <RunDuration run={run} />
        </Fact>
        <Fact label={text.candles}>{numbers.whole(run.records_collected)}</Fact>
        <Fact label={text.reason}>{messages.trigger[run.trigger] ?? run.trigger}</Fact>
        <Fact label={text.scheduledFor}>
          <Time value={run.scheduled_for} />
        </Fact>
        <Fact label={text.config}>
          <Link to="/configs/$configId" params={{ configId: String(run.config_id) }}>
            {run.config_id}
          </Link>
        </Fact>
        <Fact label={text.runId}>
          <span className={classes.id}>
            <code>{run.run_id}</code>
            <CopyButton label={text.copy} value={run.run_id} icon />
          </span>
        </Fact>
      </Facts>
      <h2 className={classes.heading}>{text.perTimeframe}</h2>
      <Results run={run} />
    </>
  );
}

function Results({ run }: { run: Run }) {
  const { runs: text } = useMessages();
  const results = resultsOf(run.metadata);
  if (results.length === 0) {
    return <p className={classes.none}>{run.status === "running" ? text.resultsRunning : text.noResults}</p>;
  }
  const titles = [
    text.timeframe,
    text.result,
    text.candles,
    text.pages,
    text.from,
    text.until,
    text.rejected,
    text.notes,
  ];
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard.
    <section className={classes.results} aria-label={text.perTimeframe} tabIndex={0}>
      <Table verticalSpacing="sm" horizontalSpacing="md" miw={760}>
        <Table.Thead>
          <Table.Tr>
            {titles.map((title) => (
              <Table.Th key={title}>{title}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {results.map((result) => (
            <ResultRow key={result.timeframe} result={result} />
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}

function ResultRow({ result }: { result: TimeframeResult }) {
  const numbers = useNumbers();
  return (
    <Table.Tr>
      <Table.Td fw={600}>{result.timeframe}</Table.Td>
      <Table.Td>
        <StatusMark status={result.error === null ? "success" : "failed"} />
      </Table.Td>
      <Table.Td>{numbers.whole(result.candles)}</Table.Td>
      <Table.Td>{numbers.whole(result.pages)}</Table.Td>
      <Table.Td className={classes.time}>{result.from === null ? "–" : <Time value={result.from} />}</Table.Td>
      <Table.Td className={classes.time}>{result.to === null ? "–" : <Time value={result.to} />}</Table.Td>
      <Table.Td>{numbers.whole(result.rejected)}</Table.Td>
      <Table.Td className={classes.notes}>
        {[result.error, ...result.notes].filter(Boolean).join(" · ") || "–"}
      </Table.Td>
    </Table.Tr>
  );
}

function RunAgain({ run }: { run: Run }) {
  const { runs: text, states, settings } = useMessages();
  const allowed = useCan("operator");
  const { me } = useSession();
  const trigger = useMutation({
    mutationFn: () =>
      api.POST(`${BASE}/configs/{config_id}/trigger`, { params: { path: { config_id: run.config_id } } }),
    onSuccess: () => notifyDone(text.queued),
    onError: (error) => notifyFailed(text.again, error),
  });
  return (
    <Tooltip label={states.needsRole(settings.role.operator, settings.role[me.role])} disabled={allowed}>
      <Button
        size="xs"
        leftSection={<IconReload size={15} aria-hidden />}
        data-disabled={!allowed}
        aria-disabled={!allowed}
        loading={trigger.isPending}
        onClick={() => allowed && trigger.mutate()}
      >
        {text.again}
      </Button>
    </Tooltip>
  );
}

const COPIED_MS = 1500;

function CopyButton({ label, value, icon = false }: { label: string; value: string; icon?: boolean }) {
  const { runs: text } = useMessages();
  const [copied, setCopied] = useState(false);
  const Icon = copied ? IconCheck : IconCopy;
  // Browsers offer the clipboard only to pages with TLS or on this machine.
  if (navigator.clipboard === undefined) return null;
  const copy = () => {
    void navigator.clipboard.writeText(value).then(() => {
      setCopied(true);
      window.setTimeout(() => setCopied(false), COPIED_MS);
    });
  };
  const shown = copied ? text.copied : label;
  if (icon) {
    return (
      <ActionIcon variant="subtle" color="gray" size="sm" aria-label={shown} onClick={copy}>
        <Icon size={14} aria-hidden />
      </ActionIcon>
    );
  }
  return (
    <Button size="xs" variant="default" leftSection={<Icon size={14} aria-hidden />} onClick={copy}>
      {shown}
    </Button>
  );
}
