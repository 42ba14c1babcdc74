import type { BackfillsSearch } from "./search";

/** The body of the request. The generated type has the rules of its JSON Schema, which no value satisfies. */
export interface NewBackfill {
  select: { symbol: string; exchange?: string };
  timeframes?: string[];
  start: string | null;
  end: string | null;
  mode: FormValues["mode"];
  source: FormValues["source"];
  description: string | null;
  dry_run: boolean;
}

/** The fields of the form, as the person types them. Times are in UTC. */
export interface FormValues {
  exchange: string;
  symbol: string;
  timeframes: string[];
  start: string;
  end: string;
  mode: "missing" | "all";
  source: "candles" | "trades";
  description: string;
}

export function valuesOfSearch({ exchange, symbol, timeframe, start, end }: BackfillsSearch): FormValues {
  return {
    exchange: exchange ?? "",
    symbol: symbol ?? "*",
    timeframes: timeframe === undefined ? [] : [timeframe],
    start: shownInstant(start),
    end: shownInstant(end),
    mode: "missing",
    source: "candles",
    description: "",
  };
}

const DAY_OR_MINUTE = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:\.\d+)?)?Z?)?$/;

/** `2026-01-02` or `2026-01-02 03:04` as an instant in UTC; null for an empty text, undefined for any other. */
export function instantOf(text: string): string | null | undefined {
  const typed = text.trim();
  if (typed === "") return null;
  const parts = DAY_OR_MINUTE.exec(typed);
  if (parts === null) return undefined;
  const instant = `${parts[1]}T${parts[2] ?? "00:00"}:${parts[3] ?? "00"}Z`;
  return Number.isNaN(Date.parse(instant)) ? undefined : instant;
}

function shownInstant(instant: string | undefined): string {
  return (instant ?? "").replace("T", " ").replace(/(:00)?(\.\d+)?Z$/, "");
}

/** The body of the request. Undefined if a time cannot be read or nothing is selected. */
export function bodyOfForm(values: FormValues, dryRun: boolean): NewBackfill | undefined {
  const [start, end] = [instantOf(values.start), instantOf(values.end)];
  const symbol = values.symbol.trim();
  if (start === undefined || end === undefined || symbol === "") return undefined;
  return {
    select: { symbol, ...(values.exchange !== "" && { exchange: values.exchange }) },
    ...(values.timeframes.length > 0 && { timeframes: values.timeframes }),
    start,
    end,
    mode: values.mode,
    source: values.source,
    description: values.description.trim() || null,
    dry_run: dryRun,
  };
}
