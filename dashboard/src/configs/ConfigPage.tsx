import { Badge, Button, Skeleton, Table, Tooltip } from "@mantine/core";
import { IconArrowLeft, IconPencil, IconPlayerPause, IconPlayerPlay, IconPower } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { api, BASE, bodyOf, type Role } from "../api/client";
import { keys } from "../api/keys";
import { isProblem } from "../api/problem";
import { durationText, Time } from "../app/time";
import { Fact, Facts } from "../components/Facts";
import { PageHeader } from "../components/PageHeader";
import { RunStrip } from "../components/RunStrip";
import { EmptyState, ErrorState } from "../components/states";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import { useRuns } from "../runs/queries";
import { RunTable } from "../runs/RunTable";
import { Percent } from "../series/Percent";
import type { Completeness } from "../series/queries";
import { paramsOf } from "../series/search";
import { useCan, useSession } from "../sessions/session";
import classes from "./ConfigPage.module.css";
import { ConfirmAction } from "./ConfirmAction";
import { type Row, rowOf } from "./figures";
import { History } from "./History";
import { type Action, readConfig, useActivity } from "./queries";

const NOT_FOUND = 404;
const SHOWN_RUNS = 10;
const READ_EVERY_MS = 30_000;

/** One config: what it collects, its runs, its series, and its history of changes. */
export function ConfigPage() {
  const { configId } = useParams({ from: "/configs/$configId" });
  const id = Number(configId);
  const { configPage: text } = useMessages();
  const config = useQuery({
    queryKey: [...keys.configs, "one", id],
    queryFn: async () => (await readConfig(id)).config,
  });
  const ids = useMemo(() => [id], [id]);
  const activity = useActivity(ids);
  return (
    <>
      <div className={classes.back}>
        <Button
          component={Link}
          to="/configs"
          variant="subtle"
          size="compact-sm"
          leftSection={<IconArrowLeft size={15} aria-hidden />}
        >
          {text.all}
        </Button>
      </div>
      {isProblem(config.error, NOT_FOUND) ? (
        <>
          <PageHeader title={text.notFound} />
          <EmptyState title={text.notFound} hint={text.notFoundHint} />
          <h2 className={classes.heading}>{text.history}</h2>
          <History configId={id} />
        </>
      ) : config.error !== null ? (
        <ErrorState error={config.error} onRetry={() => void config.refetch()} />
      ) : config.data === undefined ? (
        <Skeleton height={360} radius="md" />
      ) : (
        <Details row={rowOf(config.data, activity.get(id), null)} />
      )}
    </>
  );
}

function Details({ row }: { row: Row }) {
  const { configs, configPage: text } = useMessages();
  const { language } = useLanguage();
  const [asked, setAsked] = useState<{ action: Action; row: Row } | null>(null);
  const { config } = row;
  return (
    <>
      <PageHeader
        title={`${config.symbol} · ${config.exchange}`}
        note={
          <Badge variant="default" tt="none" radius="sm">
            {config.enabled ? text.enabled : text.disabled}
          </Badge>
        }
      >
        <Actions row={row} onAsk={(action) => setAsked({ action, row })} />
      </PageHeader>
      {config.description !== null && <p className={classes.description}>{config.description}</p>}
      <Facts leastWidth={210}>
        <Fact label={configs.interval}>{configs.everyMinutes(config.interval_minutes)}</Fact>
        <Fact label={configs.timeframes}>{config.timeframes.join(", ")}</Fact>
        <Fact label={configs.nextRun}>
          {config.enabled ? row.nextRunAt === null ? "–" : <Time value={row.nextRunAt} /> : configs.paused}
        </Fact>
        <Fact label={text.completeFrom}>{config.start_date ?? text.firstRun}</Fact>
        <Fact label={configs.successRate}>{row.success === null ? "–" : `${Math.floor(row.success)} %`}</Fact>
        <Fact label={configs.p95}>{row.p95 === null ? "–" : durationText(row.p95, language)}</Fact>
        <Fact label={configs.lastRuns}>
          <RunStrip runs={row.runs} align="left" />
        </Fact>
        <Fact label={text.changed}>
          <Time value={config.updated_at} />
        </Fact>
      </Facts>
      <h2 className={classes.heading}>{text.series}</h2>
      <SeriesOf configId={config.id} />
      <div className={classes.section}>
        <h2 className={classes.heading}>{text.runs}</h2>
        <Link to="/runs" search={{ config_id: config.id }}>
          {text.allRuns}
        </Link>
      </div>
      <RunsOf configId={config.id} />
      <h2 className={classes.heading}>{text.history}</h2>
      <History configId={config.id} />
      <ConfirmAction asked={asked} onClose={() => setAsked(null)} />
    </>
  );
}

function Actions({ row, onAsk }: { row: Row; onAsk: (action: Action) => void }) {
  const { configs: text, states, settings } = useMessages();
  const { me } = useSession();
  const navigate = useNavigate();
  const may: Record<Role, boolean> = { viewer: true, operator: useCan("operator"), admin: useCan("admin") };
  const button = (role: Role, action: Action, label: string, Icon: typeof IconPower, primary = false) => (
    <Tooltip label={states.needsRole(settings.role[role], settings.role[me.role])} disabled={may[role]}>
      <Button
        size="xs"
        variant={primary ? "filled" : "default"}
        leftSection={<Icon size={15} aria-hidden />}
        data-disabled={!may[role]}
        aria-disabled={!may[role]}
        onClick={() => may[role] && onAsk(action)}
      >
        {label}
      </Button>
    </Tooltip>
  );
  return (
    <>
      {button("operator", "trigger", text.trigger, IconPlayerPlay, true)}
      {row.config.enabled
        ? button("operator", "disable", text.disable, IconPlayerPause)
        : button("operator", "enable", text.enable, IconPower)}
      {may.admin && (
        <Button
          onClick={() => void navigate({ to: "/configs", search: { edit: row.config.id } })}
          size="xs"
          variant="default"
          leftSection={<IconPencil size={15} aria-hidden />}
        >
          {text.edit}
        </Button>
      )}
    </>
  );
}

/** The series that the config collects, with their completeness. */
function SeriesOf({ configId }: { configId: number }) {
  const { series: text, runs } = useMessages();
  const series = useQuery({
    queryKey: [...keys.completeness, "config", configId],
    queryFn: async () => {
      const query = { config_id: [configId], group_by: "series" as const };
      return bodyOf(await api.GET(`${BASE}/completeness`, { params: { query } }));
    },
    refetchInterval: READ_EVERY_MS,
  });
  if (series.error !== null) return <ErrorState error={series.error} onRetry={() => void series.refetch()} />;
  if (series.data === undefined) return <Skeleton height={120} radius="md" />;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard.
    <section className={classes.table} tabIndex={0} aria-label={text.title}>
      <Table verticalSpacing="xs" horizontalSpacing="md">
        <Table.Thead>
          <Table.Tr>
            {[text.timeframe, text.whole, text.answered, text.periods, runs.from, runs.until].map((title) => (
              <Table.Th key={title}>{title}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {series.data.map((each) => (
            <SeriesRow key={each.timeframe} row={each} />
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}

function SeriesRow({ row }: { row: Completeness }) {
  const numbers = useNumbers();
  const name = { exchange: row.exchange ?? "", symbol: row.symbol ?? "", timeframe: row.timeframe ?? "" };
  return (
    <Table.Tr>
      <Table.Td>
        <Link to="/series/$exchange/$" params={paramsOf(name)}>
          {row.timeframe}
        </Link>
      </Table.Td>
      <Table.Td>
        <Percent value={row.whole_percent} bar />
      </Table.Td>
      <Table.Td>
        <Percent value={row.answered_percent} />
      </Table.Td>
      <Table.Td>{numbers.whole(row.closed_periods)}</Table.Td>
      <Table.Td className={classes.time}>{row.start === null ? "–" : <Time value={row.start} />}</Table.Td>
      <Table.Td className={classes.time}>{row.end === null ? "–" : <Time value={row.end} />}</Table.Td>
    </Table.Tr>
  );
}

/** The latest runs. New ones wait behind a button, so that no row moves. */
function RunsOf({ configId }: { configId: number }) {
  const { runs, configPage: text } = useMessages();
  const search = useMemo(() => ({ config_id: configId }), [configId]);
  const list = useRuns(search);
  const { waiting, showNew } = list;
  if (list.error !== null) return <ErrorState error={list.error} onRetry={() => void list.refetch()} />;
  if (!list.isLoading && list.runs.length === 0) return <p className={classes.nothing}>{runs.none}</p>;
  return (
    <>
      {waiting > 0 && (
        <Button size="compact-sm" radius="xl" mb="xs" onClick={showNew}>
          {runs.showNew(waiting)}
        </Button>
      )}
      <RunTable runs={list.runs.slice(0, SHOWN_RUNS)} isLoading={list.isLoading} label={text.runs} />
    </>
  );
}
