import type { Config } from "../api/client";
import type { Activity, RunMark } from "./queries";
import type { ConfigsSearch, Sort } from "./search";

const P95 = 0.95;

/** What the table shows about one config. */
export interface Row {
  config: Config;
  runs: readonly RunMark[];
  nextRunAt: string | null;
  /** Of the runs that succeeded or failed, in percent; null without such runs. */
  success: number | null;
  /** In seconds; null without runs that have ended. */
  p95: number | null;
  /** Of the last run that has ended. */
  records: number | null;
  whole: number | null;
}

interface Known {
  activity: Activity | undefined;
  whole: number | null;
  row: Row;
}

const known = new WeakMap<Config, Known>();

/** The same object for the same values, so that a new page or answer renders only the rows that it changes. */
export function rowOf(config: Config, activity: Activity | undefined, whole: number | null): Row {
  const before = known.get(config);
  if (before !== undefined && before.activity === activity && before.whole === whole) return before.row;
  const row = newRow(config, activity, whole);
  known.set(config, { activity, whole, row });
  return row;
}

function newRow(config: Config, activity: Activity | undefined, whole: number | null): Row {
  const runs = activity?.runs ?? [];
  const decided = runs.filter((run) => run.status === "success" || run.status === "failed");
  const durations = decided.flatMap((run) => run.duration_seconds ?? []).sort((a, b) => a - b);
  const successes = decided.filter((run) => run.status === "success").length;
  return {
    config,
    runs,
    nextRunAt: activity?.next_run_at ?? null,
    success: decided.length === 0 ? null : (100 * successes) / decided.length,
    p95: durations[Math.ceil(durations.length * P95) - 1] ?? null,
    records: decided.at(-1)?.records_collected ?? null,
    whole,
  };
}

const VALUES: Partial<Record<Sort, (row: Row) => number | null>> = {
  next: (row) => (row.nextRunAt === null ? null : Date.parse(row.nextRunAt)),
  success: (row) => row.success,
  duration: (row) => row.p95,
  whole: (row) => row.whole,
};

/**
 * Rows in the order of a figure; the API has sorted them by names. Rows without a value come last in both directions.
 * Equal values are ordered by id, so rows do not jump.
 */
export function sorted(rows: readonly Row[], { sort = "symbol", desc }: ConfigsSearch): readonly Row[] {
  const sortValue = VALUES[sort];
  if (sortValue === undefined) return rows;
  const direction = desc ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [sortValue(a), sortValue(b)];
    if (x === null || y === null) return x === y ? a.config.id - b.config.id : x === null ? 1 : -1;
    if (x === y) return a.config.id - b.config.id;
    return (x < y ? -1 : 1) * direction;
  });
}
