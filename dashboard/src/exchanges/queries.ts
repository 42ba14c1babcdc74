import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { api, BASE, bodyOf } from "../api/client";
import { keys } from "../api/keys";

const UNTIL_RESTART = Number.POSITIVE_INFINITY;

/** The exchanges that this system may use. They change only with a restart of the API. */
export function useAllowedExchanges() {
  return useQuery({
    queryKey: ["exchange-catalogue"],
    queryFn: async () => bodyOf(await api.GET(`${BASE}/exchanges`, { params: { query: { allowed: true } } })),
    staleTime: UNTIL_RESTART,
  });
}

export function useExchange(id: string | null) {
  return useQuery({
    queryKey: ["exchange-catalogue", id],
    queryFn: async () =>
      bodyOf(await api.GET(`${BASE}/exchanges/{exchange}`, { params: { path: { exchange: id ?? "" } } })),
    enabled: id !== null && id !== "",
    staleTime: UNTIL_RESTART,
  });
}

/** The success of each exchange in 24 hours, and its rate use. Also exchanges whose configs had no run yet. */
export function useExchangeUse() {
  return useQuery({
    queryKey: [...keys.reports, "exchange-use", 24],
    queryFn: async () => bodyOf(await api.GET(`${BASE}/reports/exchange-use`, { params: { query: { hours: 24 } } })),
    refetchInterval: 30_000,
  });
}

/** The exchanges that have finished runs, for filters. */
export function useExchangeNames(): string[] {
  const report = useExchangeReport();
  return useMemo(() => report.data?.map((each) => each.exchange) ?? [], [report.data]);
}

/** The finished runs of the last 24 hours by exchange. */
export function useExchangeReport() {
  return useQuery({
    queryKey: [...keys.reports, "exchanges", 24],
    queryFn: async () => bodyOf(await api.GET(`${BASE}/reports/exchanges`, { params: { query: { hours: 24 } } })),
    refetchInterval: 30_000,
  });
}
