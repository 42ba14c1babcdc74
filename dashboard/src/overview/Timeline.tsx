import { Skeleton, Text } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { Link } from "@tanstack/react-router";
import { useId, useMemo } from "react";
import type { Config } from "../api/client";
import { durationText, useNow } from "../app/time";
import { ErrorState } from "../components/states";
import { type Activity, type RunMark, useActivity, useConfigs } from "../configs/queries";
import { useLanguage, useMessages } from "../i18n";
import { barOf, PAST_MS, plannedRuns, share } from "./lanes";
import classes from "./Timeline.module.css";

const LANES = 12;
const HEIGHT = 22;
const LEAST_BAR = 3;
const MARK = 5;
const QUARTER_MS = 15 * 60_000;
const QUARTERS = [-4, -3, -2, -1, 0, 1];

/** One lane per enabled config: its runs of the last hour, a running one as it grows, and the planned ones. */
export function Timeline() {
  const { timeline: text } = useMessages();
  const list = useConfigs();
  const enabled = useMemo(() => list.data?.filter((config) => config.enabled) ?? [], [list.data]);
  const shown = useMemo(() => enabled.slice(0, LANES), [enabled]);
  const ids = useMemo(() => shown.map((config) => config.id), [shown]);
  const activity = useActivity(ids);
  return (
    <>
      <h2 className={classes.heading}>{text.title}</h2>
      {list.error !== null ? (
        <ErrorState error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data === undefined ? (
        <Skeleton height={160} radius="md" />
      ) : shown.length === 0 ? (
        <Text size="sm" c="dimmed">
          {text.none}
        </Text>
      ) : (
        <Lanes configs={shown} activity={activity} />
      )}
      <Text size="xs" c="dimmed" mt={6}>
        {text.legend} {enabled.length > shown.length && text.more(shown.length, enabled.length)}
      </Text>
    </>
  );
}

function Lanes({ configs, activity }: { configs: readonly Config[]; activity: ReadonlyMap<number, Activity> }) {
  const { timeline: text } = useMessages();
  const now = useNow();
  const { ref, width } = useElementSize();
  const hatch = useId();
  return (
    <div className={classes.frame}>
      <svg className={classes.patterns} width="0" height="0" aria-hidden>
        <pattern id={hatch} width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect width="2" height="4" className={classes.hatch} />
        </pattern>
      </svg>
      <ul className={classes.lanes}>
        {configs.map((config) => (
          <li key={config.id} className={classes.lane}>
            <Link to="/runs" search={{ config_id: config.id }} className={classes.name}>
              {config.symbol} <span>{config.exchange}</span>
            </Link>
            <Lane config={config} activity={activity.get(config.id)} now={now} width={width} hatch={hatch} />
          </li>
        ))}
      </ul>
      <div className={classes.lane} aria-hidden>
        <span />
        <div ref={ref} className={classes.axis}>
          {QUARTERS.map((quarter) => (
            <span key={quarter} data-align={quarter === 1 ? "end" : undefined} style={{ left: `${at(quarter)}%` }}>
              {quarter === 0 ? text.now : `${quarter > 0 ? "+" : "−"}${Math.abs(quarter) * 15} min`}
            </span>
          ))}
        </div>
      </div>
    </div>
  );
}

const at = (quarter: number) => 100 * share(quarter * QUARTER_MS, 0);

interface LaneProps {
  config: Config;
  activity: Activity | undefined;
  now: number;
  width: number;
  hatch: string;
}

function Lane({ config, activity, now, width, hatch }: LaneProps) {
  const { messages } = useLanguage();
  const runs = activity?.runs.filter((run) => Date.parse(run.started_at) > now - PAST_MS) ?? [];
  const planned = plannedRuns(activity?.next_run_at ?? null, config.interval_minutes, now);
  const counts = (["success", "failed", "running", "skipped"] as const)
    .map((status) => [messages.status[status], runs.filter((run) => run.status === status).length] as const)
    .filter(([, count]) => count > 0)
    .map(([word, count]) => `${count} ${word.toLowerCase()}`);
  const label = [...counts, messages.timeline.coming(planned.length)].join(", ");
  return (
    <svg
      className={classes.track}
      width="100%"
      height={HEIGHT}
      role="img"
      aria-label={messages.timeline.lane(`${config.symbol} ${config.exchange}`, label)}
    >
      {runs.map((run) => (
        <RunBar key={run.id} run={run} now={now} width={width} />
      ))}
      {planned.map((bar) => (
        <rect
          key={bar.start}
          x={bar.start * width}
          y={4}
          width={MARK}
          height={HEIGHT - 8}
          fill={`url(#${hatch})`}
          className={classes.planned}
        />
      ))}
      <line x1={share(now, now) * width} x2={share(now, now) * width} y1={0} y2={HEIGHT} className={classes.now} />
    </svg>
  );
}

/** Besides its colour, a failed run has a cross, a skipped one is an outline, and a running one is dashed. */
function RunBar({ run, now, width }: { run: RunMark; now: number; width: number }) {
  const { messages, language } = useLanguage();
  const bar = barOf(run, now);
  if (bar === null) return null;
  const x = bar.start * width;
  const wide = Math.max(LEAST_BAR, bar.width * width);
  const duration = run.duration_seconds === null ? "…" : durationText(run.duration_seconds, language);
  return (
    <g className={classes.bar} data-status={run.status}>
      <title>{`${messages.status[run.status]} · ${duration}`}</title>
      <rect
        x={x}
        y={run.status === "failed" ? 8 : 4}
        width={wide}
        height={HEIGHT - (run.status === "failed" ? 12 : 8)}
      />
      {run.status === "failed" && <path d={`M${x - 1} 1l5 5m0 -5l-5 5`} />}
    </g>
  );
}
