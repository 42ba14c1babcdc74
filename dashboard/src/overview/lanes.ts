import type { RunMark } from "../configs/queries";

/** The time that the timeline shows: mostly the past, and the next planned runs. In milliseconds. */
export const PAST_MS = 60 * 60_000;
export const FUTURE_MS = 15 * 60_000;
const MINUTE_MS = 60_000;
const LEAST_SHARE = 0.003;

/** A stretch of a lane; `start` and `width` are shares of the whole window. */
export interface Bar {
  start: number;
  width: number;
}

export function share(time: number, now: number): number {
  return (time - (now - PAST_MS)) / (PAST_MS + FUTURE_MS);
}

/** The part of a run that is in the window; null if it ended before. A running one reaches to now. */
export function barOf(run: RunMark, now: number): Bar | null {
  const started = Date.parse(run.started_at);
  const ended =
    run.status === "running" ? Math.max(now, started) : started + Math.round((run.duration_seconds ?? 0) * 1000);
  if (ended < now - PAST_MS || started > now + FUTURE_MS) return null;
  const start = Math.max(0, share(started, now));
  return { start, width: Math.max(LEAST_SHARE, Math.min(1, share(ended, now)) - start) };
}

/** The planned runs in the window: the next one, and one after each interval. */
export function plannedRuns(nextRunAt: string | null, intervalMinutes: number, now: number): Bar[] {
  if (nextRunAt === null) return [];
  const planned: Bar[] = [];
  for (let at = Date.parse(nextRunAt); at < now + FUTURE_MS; at += intervalMinutes * MINUTE_MS) {
    if (at >= now) planned.push({ start: share(at, now), width: LEAST_SHARE });
  }
  return planned;
}
