import type { Run } from "../api/client";

/** The list with the newer state of those of its runs that `latest` contains. No row moves. */
export function withUpdates(listed: readonly Run[], latest: readonly Run[]): Run[] {
  const newer = new Map(latest.map((run) => [run.id, run]));
  return listed.map((run) => newer.get(run.id) ?? run);
}

/** The runs of `latest` that are newer than the first listed one, in their order. */
export function newRuns(listed: readonly Run[], latest: readonly Run[]): Run[] {
  const known = new Set(listed.map((run) => run.id));
  const first = listed[0];
  return latest.filter((run) => !known.has(run.id) && (first === undefined || isAfter(run, first)));
}

/** Whether runs may be missing between the list and `latest`: more have started than one page holds. */
export function hasGap(listed: readonly Run[], latest: readonly Run[], page: number): boolean {
  const known = new Set(listed.map((run) => run.id));
  return listed.length > 0 && latest.length === page && !latest.some((run) => known.has(run.id));
}

function isAfter(run: Run, other: Run): boolean {
  const [start, otherStart] = [Date.parse(run.started_at), Date.parse(other.started_at)];
  return start > otherStart || (start === otherStart && run.id > other.id);
}
