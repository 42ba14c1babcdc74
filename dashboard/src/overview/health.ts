import { useQuery } from "@tanstack/react-query";
import { api, BASE, bodyOf } from "../api/client";
import { keys } from "../api/keys";

const SERVICES_EVERY_MS = 10_000;
const LOSSES_EVERY_MS = 60_000;
const LOSSES = 3;

/** Whether each service works, and its lag. */
export function useServices() {
  return useQuery({
    queryKey: [...keys.all, "services"],
    queryFn: async () => bodyOf(await api.GET(`${BASE}/services`)),
    refetchInterval: SERVICES_EVERY_MS,
  });
}

/** The series that lose candles next, those at risk first. */
export function useNextLosses() {
  return useQuery({
    queryKey: [...keys.completeness, "losses"],
    queryFn: async () => bodyOf(await api.GET(`${BASE}/reports/next-losses`, { params: { query: { limit: LOSSES } } })),
    refetchInterval: LOSSES_EVERY_MS,
  });
}
