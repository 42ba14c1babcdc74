import { useQuery } from "@tanstack/react-query";
import { api, BASE, bodyOf, type Schemas } from "../api/client";
import { keys } from "../api/keys";
import { HOURS, type Range, SPANS } from "./search";

export type RunsOfSpan = Schemas["RunsOfSpan"];
export type SymbolReport = Schemas["SymbolReport"];
export type ExchangeReport = Schemas["ExchangeReport"];

const EVERY_MS = 60_000;
const SYMBOLS = 10;

/** The runs by hour or day. */
export function useHistory(range: Range) {
  return useQuery({
    queryKey: [...keys.reports, "history", range],
    queryFn: async () => {
      const query = { hours: HOURS[range], span: SPANS[range] };
      return bodyOf(await api.GET(`${BASE}/reports/history`, { params: { query } }));
    },
    refetchInterval: EVERY_MS,
  });
}

/** The sums over the whole range. */
export function useStats(range: Range) {
  return useQuery({
    queryKey: [...keys.reports, "stats", range],
    queryFn: async () => {
      const query = { hours: HOURS[range], job_type: "data_collection" };
      return bodyOf(await api.GET(`${BASE}/stats`, { params: { query } }));
    },
    refetchInterval: EVERY_MS,
  });
}

export function useTopSymbols(range: Range) {
  return useQuery({
    queryKey: [...keys.reports, "top-symbols", range],
    queryFn: async () => {
      const query = { hours: HOURS[range], limit: SYMBOLS };
      return bodyOf(await api.GET(`${BASE}/reports/top-symbols`, { params: { query } }));
    },
    refetchInterval: EVERY_MS,
  });
}

export function useExchangePerformance(range: Range) {
  return useQuery({
    queryKey: [...keys.reports, "exchanges", HOURS[range]],
    queryFn: async () =>
      bodyOf(await api.GET(`${BASE}/reports/exchanges`, { params: { query: { hours: HOURS[range] } } })),
    refetchInterval: EVERY_MS,
  });
}
