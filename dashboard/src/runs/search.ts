import { BASE } from "../api/client";

const STATUSES = ["running", "success", "failed", "skipped"] as const;
const SINCE = ["1h", "24h", "7d"] as const;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export type Status = (typeof STATUSES)[number];
export type Since = (typeof SINCE)[number];

/** The filters of the list of runs, as they are in the address. */
export interface RunsSearch {
  status?: Status;
  exchange?: string;
  symbol?: string;
  config_id?: number;
  run_id?: string;
  since?: Since;
}

/** Values that the API would refuse are left out. */
export function runsSearch(raw: Record<string, unknown>): RunsSearch {
  const status = STATUSES.find((each) => each === raw.status);
  const since = SINCE.find((each) => each === raw.since);
  const configId = Number(raw.config_id);
  return {
    ...(status && { status }),
    ...(typeof raw.exchange === "string" && raw.exchange !== "" && { exchange: raw.exchange }),
    ...(typeof raw.symbol === "string" && raw.symbol !== "" && { symbol: raw.symbol }),
    ...(Number.isSafeInteger(configId) && configId > 0 && { config_id: configId }),
    ...(typeof raw.run_id === "string" && UUID.test(raw.run_id) && { run_id: raw.run_id }),
    ...(since && { since }),
  };
}

const HOURS: Record<Since, number> = { "1h": 1, "24h": 24, "7d": 168 };
const HOUR_MS = 3_600_000;

/** The filters as the query of the API. */
export function runsQuery({ since, ...filters }: RunsSearch, now: number) {
  return {
    ...filters,
    ...(since && { start_date: new Date(now - HOURS[since] * HOUR_MS).toISOString() }),
  };
}

/** The address of the filtered list as CSV. The browser saves it while it arrives, so no page holds it. */
export function exportUrl(search: RunsSearch, now: number): string {
  const filters = Object.entries(runsQuery(search, now)).map(([name, value]) => [name, String(value)]);
  const query = new URLSearchParams(filters).toString();
  return `${BASE}/execution-logs/export${query === "" ? "" : `?${query}`}`;
}
