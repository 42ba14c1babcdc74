import { BASE, type Schemas } from "../api/client";
import { TIMEFRAMES } from "../series/search";

const STATUSES = ["running", "success", "failed", "skipped"] as const;
const SINCE = ["1h", "24h", "7d"] as const;
/** The error classes in the order of the API's description. */
export const ERROR_CLASSES = [
  "bad_symbol",
  "bad_request",
  "not_supported",
  "authentication",
  "rate_limited",
  "banned",
  "blocked_location",
  "maintenance",
  "unavailable",
  "timeout",
  "network",
  "bad_response",
  "invalid_data",
  "unproven_trades",
  "exchange_error",
  "deadline_exceeded",
  "already_running",
  "superseded",
  "collector_lost",
  "internal",
] as const satisfies readonly Schemas["ErrorClass"][];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export type Status = (typeof STATUSES)[number];
export type ErrorClass = (typeof ERROR_CLASSES)[number];
export type Since = (typeof SINCE)[number];

/** The filters of the list of runs, as they are in the address. */
export interface RunsSearch {
  status?: Status;
  exchange?: string;
  symbol?: string;
  timeframe?: string;
  error_class?: ErrorClass;
  config_id?: number;
  run_id?: string;
  since?: Since;
}

/** Values that the API would refuse are left out. */
export function runsSearch(raw: Record<string, unknown>): RunsSearch {
  const status = STATUSES.find((each) => each === raw.status);
  const since = SINCE.find((each) => each === raw.since);
  const timeframe = TIMEFRAMES.find((each) => each === raw.timeframe);
  const errorClass = ERROR_CLASSES.find((each) => each === raw.error_class);
  const configId = Number(raw.config_id);
  return {
    ...(status && { status }),
    ...(typeof raw.exchange === "string" && raw.exchange !== "" && { exchange: raw.exchange }),
    ...(typeof raw.symbol === "string" && raw.symbol !== "" && { symbol: raw.symbol }),
    ...(timeframe && { timeframe }),
    ...(errorClass && { error_class: errorClass }),
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
