import type { Config } from "../api/client";
import type { NewConfig } from "./queries";

/** The fields of the form, as the person types them. */
export interface FormValues {
  exchange: string;
  symbol: string;
  timeframes: string[];
  interval_minutes: number | string;
  enabled: boolean;
  start_date: string;
  description: string;
}

const RECOMMENDED_MINUTES = 10;

export const EMPTY: FormValues = {
  exchange: "",
  symbol: "",
  timeframes: [],
  interval_minutes: RECOMMENDED_MINUTES,
  enabled: true,
  start_date: "",
  description: "",
};

export function valuesOf(config: Config): FormValues {
  const { exchange, symbol, timeframes, interval_minutes, enabled } = config;
  const texts = { start_date: config.start_date ?? "", description: config.description ?? "" };
  return { exchange, symbol, timeframes, interval_minutes, enabled, ...texts };
}

/** The body of the request. An empty text means no value. */
export function bodyOfForm(values: FormValues): NewConfig {
  return {
    exchange: values.exchange as NewConfig["exchange"],
    symbol: values.symbol.trim(),
    timeframes: values.timeframes as NewConfig["timeframes"],
    interval_minutes: Number(values.interval_minutes),
    enabled: values.enabled,
    start_date: values.start_date.trim() || null,
    description: values.description.trim() || null,
  };
}

/** Whether enough is known to ask the API about the consequences. */
export function isComplete(values: FormValues): boolean {
  return (
    values.exchange !== "" &&
    values.symbol.includes("/") &&
    values.timeframes.length > 0 &&
    Number(values.interval_minutes) >= 1
  );
}

/** The fields that differ between the form and the version that another person saved. */
export function differences(mine: FormValues, theirs: FormValues): (keyof FormValues)[] {
  return (Object.keys(mine) as (keyof FormValues)[]).filter((name) => text(mine[name]) !== text(theirs[name]));
}

/** A value as a person reads it. */
export function text(value: FormValues[keyof FormValues]): string {
  return Array.isArray(value) ? value.join(", ") : String(value);
}

/** The messages of a 422 by the name of the field. */
export function fieldErrors(faults: readonly { pointer: string; detail: string }[]): Partial<Record<string, string>> {
  return Object.fromEntries(faults.map(({ pointer, detail }) => [pointer.split("/")[1] ?? "", detail]));
}
