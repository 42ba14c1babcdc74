import { useMutation, useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { api, BASE, bodyOf, type Config, nextCursor, type Schemas } from "../api/client";
import { keys } from "../api/keys";

export type Activity = Schemas["ConfigActivity"];
export type RunMark = Schemas["RunMark"];
export type NewConfig = Schemas["NewConfig"];

const PAGE = 100;
const COMPLETENESS_EVERY_MS = 30_000;

/** All configs. The table searches and sorts them in the browser, also by figures that the list does not have. */
export function useConfigs() {
  return useQuery({
    queryKey: [...keys.configs, "all"],
    queryFn: async () => {
      const found: Config[] = [];
      let cursor: string | undefined;
      do {
        const query = { limit: PAGE, ...(cursor !== undefined && { cursor }) };
        const result = await api.GET(`${BASE}/configs`, { params: { query } });
        found.push(...bodyOf(result));
        cursor = nextCursor(result.response);
      } while (cursor !== undefined);
      return found;
    },
  });
}

/** The last runs and the next run of these configs, by config id. */
export function useActivity(ids: readonly number[]): ReadonlyMap<number, Activity> {
  const parts = useMemo(() => {
    const sorted = [...ids].sort((a, b) => a - b);
    return Array.from({ length: Math.ceil(sorted.length / PAGE) }, (_, part) =>
      sorted.slice(part * PAGE, (part + 1) * PAGE),
    );
  }, [ids]);
  return useQueries({
    queries: parts.map((part) => ({
      queryKey: [...keys.activity, part],
      queryFn: async () =>
        bodyOf(await api.GET(`${BASE}/reports/config-activity`, { params: { query: { config_id: part } } })),
    })),
    combine: byConfig,
  });
}

function byConfig(results: readonly { data: Activity[] | undefined }[]): ReadonlyMap<number, Activity> {
  return new Map(results.flatMap(({ data }) => data ?? []).map((each) => [each.config_id, each]));
}

/** The whole percentage of each config that has periods. */
export function useWholePercent() {
  return useQuery({
    queryKey: [...keys.completeness, "config"],
    queryFn: async () => {
      const rows = bodyOf(
        await api.GET(`${BASE}/completeness`, { params: { query: { group_by: "config", limit: 1000 } } }),
      );
      return new Map(rows.map((row) => [row.config_id, row.whole_percent]));
    },
    refetchInterval: COMPLETENESS_EVERY_MS,
  });
}

/** One config and its ETag, for a safe change. */
export function useConfig(id: number | null) {
  return useQuery({
    queryKey: ["config-form", id],
    queryFn: () => readConfig(id ?? 0),
    enabled: id !== null,
    // Not read again: a change by another person must not change the form, nor the version that it is based on.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
}

export async function readConfig(id: number): Promise<{ config: Config; etag: string }> {
  const result = await api.GET(`${BASE}/configs/{config_id}`, { params: { path: { config_id: id } } });
  return { config: bodyOf(result), etag: result.response.headers.get("ETag") ?? "" };
}

/** Creates or changes a config. `etag` is that of the version which the person has seen. */
export async function saveConfig(values: NewConfig, existing: { id: number; etag: string } | null): Promise<Config> {
  // A second request for the same series is refused with 409, so a repeated creation needs no Idempotency-Key.
  if (existing === null) return bodyOf(await api.POST(`${BASE}/configs`, { body: values }));
  const params = { path: { config_id: existing.id }, header: { "If-Match": existing.etag } };
  return bodyOf(await api.PUT(`${BASE}/configs/{config_id}`, { body: values, params }));
}

export type Action = "trigger" | "enable" | "disable" | "delete";

/** Actions on one config. */
export function useConfigAction() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async ({ action, id }: { action: Action; id: number }) => {
      const params = { path: { config_id: id } };
      if (action === "trigger") await api.POST(`${BASE}/configs/{config_id}/trigger`, { params });
      else if (action === "enable") await api.POST(`${BASE}/configs/{config_id}/enable`, { params });
      else if (action === "disable") await api.POST(`${BASE}/configs/{config_id}/disable`, { params });
      else await api.DELETE(`${BASE}/configs/{config_id}`, { params });
    },
    onSettled: () => queries.invalidateQueries({ queryKey: keys.all }),
  });
}
