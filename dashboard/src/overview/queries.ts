import { useQuery } from "@tanstack/react-query";
import { api, BASE, bodyOf } from "../api/client";
import { keys } from "../api/keys";

const EVERY_MS = 15_000;

/** Configs, jobs, the last ten runs, and the statistics of 24 hours. */
export function useStatus() {
  return useQuery({
    queryKey: keys.status,
    queryFn: async () => bodyOf(await api.GET(`${BASE}/status`)),
    refetchInterval: EVERY_MS,
  });
}

/** How complete all series are together. */
export function useTotalCompleteness() {
  return useQuery({
    queryKey: [...keys.completeness, "total"],
    queryFn: async () => bodyOf(await api.GET(`${BASE}/completeness`))[0],
    refetchInterval: EVERY_MS,
  });
}

/** How complete the series of each exchange are. */
export function useExchangeCompleteness() {
  return useQuery({
    queryKey: [...keys.completeness, "exchange"],
    queryFn: async () => {
      const rows = bodyOf(await api.GET(`${BASE}/completeness`, { params: { query: { group_by: "exchange" } } }));
      return new Map(rows.map((row) => [row.exchange, row.whole_percent]));
    },
    refetchInterval: EVERY_MS,
  });
}

/** The latest failed runs of 24 hours. */
export function useFailures(limit: number) {
  return useQuery({
    queryKey: [...keys.runs, "failures", limit],
    queryFn: async () =>
      bodyOf(await api.GET(`${BASE}/reports/recent-failures`, { params: { query: { hours: 24, limit } } })),
  });
}
