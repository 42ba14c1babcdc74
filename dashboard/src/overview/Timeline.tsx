import { Skeleton, Text } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { Link } from "@tanstack/react-router";
import { type KeyboardEvent, useId, useMemo, useRef, useState } from "react";
import type { Config } from "../api/client";
import { absoluteTime, durationText, useNow, useTimeStyle } from "../app/time";
import { ErrorState } from "../components/states";
import { type Activity, type RunMark, useActivity, useEnabledConfigs } from "../configs/queries";
import { useLanguage, useMessages } from "../i18n";
import { runPath, useOpenRun } from "../runs/openRun";
import { barOf, PAST_MS, plannedRuns, share } from "./lanes";
import classes from "./Timeline.module.css";

const LANES = 12;
const HEIGHT = 22;
const LEAST_BAR = 3;
const MARK = 8;
/** Thin bars are easier to hit than they look. */
const LEAST_HIT = 11;
const QUARTER_MS = 15 * 60_000;
const QUARTERS = [-4, -3, -2, -1, 0, 1];

const NONE: readonly Config[] = [];

/** One lane per enabled config: its runs of the last hour, a running one as it grows, and the planned ones. */
export function Timeline() {
  const { timeline: text } = useMessages();
  const list = useEnabledConfigs(LANES);
  const shown = list.data?.configs ?? NONE;
  const total = list.data?.total ?? 0;
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
        {text.legend} {total > shown.length && text.more(shown.length, total)}
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
          <rect width="1.6" height="4" className={classes.hatch} />
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
  const bars = useRef<SVGGElement>(null);
  const [focused, setFocused] = useState<number>();
  // One stop of the Tab key per lane, at first its latest run. The arrow keys move to the others.
  const stop = runs.some((run) => run.id === focused) ? focused : runs.at(-1)?.id;
  const onKeyDown = (event: KeyboardEvent) => {
    const links = [...(bars.current?.querySelectorAll<SVGAElement>("a") ?? [])];
    const at = links.indexOf(document.activeElement as SVGAElement);
    const targets: Record<string, number> = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: links.length - 1 };
    const next = links[targets[event.key] ?? -1];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  };
  return (
    <svg
      className={classes.track}
      width="100%"
      height={HEIGHT}
      role="group"
      aria-label={messages.timeline.lane(`${config.symbol} ${config.exchange}`, label)}
    >
      <g ref={bars}>
        {runs.map((run, index) => (
          <RunBar
            key={run.id}
            run={run}
            now={now}
            width={width}
            isStop={run.id === stop}
            onFocus={() => setFocused(runs[index]?.id)}
            onKeyDown={onKeyDown}
          />
        ))}
      </g>
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

interface BarProps {
  run: RunMark;
  now: number;
  width: number;
  isStop: boolean;
  onFocus: () => void;
  onKeyDown: (event: KeyboardEvent) => void;
}

/**
 * A link to the run. Besides its colour, a failed run has a cross, a skipped one is an outline, and a running one is
 * dashed.
 */
function RunBar({ run, now, width, isStop, onFocus, onKeyDown }: BarProps) {
  const { messages, language } = useLanguage();
  const { style } = useTimeStyle();
  const open = useOpenRun();
  const bar = barOf(run, now);
  if (bar === null) return null;
  const x = bar.start * width;
  const wide = Math.max(LEAST_BAR, bar.width * width);
  const hit = Math.max(LEAST_HIT, wide);
  const duration = run.duration_seconds === null ? "…" : durationText(run.duration_seconds, language);
  const label = messages.timeline.run(messages.status[run.status], absoluteTime(run.started_at, style), duration);
  return (
    <a
      href={runPath(run.id)}
      className={classes.bar}
      data-status={run.status}
      aria-label={label}
      tabIndex={isStop ? 0 : -1}
      onFocus={onFocus}
      onKeyDown={onKeyDown}
      onClick={(event) => open(event, run.id)}
    >
      <title>{label}</title>
      <rect className={classes.hit} x={x + (wide - hit) / 2} width={hit} height={HEIGHT} />
      <rect
        x={x}
        y={run.status === "failed" ? 8 : 4}
        width={wide}
        height={HEIGHT - (run.status === "failed" ? 12 : 8)}
      />
      {run.status === "failed" && <path d={`M${x - 1} 1l5 5m0 -5l-5 5`} />}
    </a>
  );
}
