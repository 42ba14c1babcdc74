import {
  keepPreviousData,
  useInfiniteQuery,
  useMutation,
  useQueries,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { api, BASE, bodyOf, type Config, nextCursor, type Schemas, totalOf } from "../api/client";
import { keys } from "../api/keys";
import { readAgain } from "../api/readAgain";
import { type ConfigsSearch, isServerSort } from "./search";

export type Activity = Schemas["ConfigActivity"];
export type RunMark = Schemas["RunMark"];
export type NewConfig = Schemas["NewConfig"];

const PAGE = 100;
const COMPLETENESS_EVERY_MS = 30_000;

/**
 * The configs that a search finds, page by page. The API searches, filters, and sorts by names. The figures in a row come
 * from other lists, so only a sorting by a figure reads all pages.
 */
export function useConfigList(search: ConfigsSearch) {
  const { q, exchange, shown, sort = "symbol", desc } = search;
  const byName = isServerSort(sort);
  const query = {
    ...(q && { q }),
    ...(exchange && { exchange }),
    ...(shown && { enabled: shown === "enabled" }),
    sort: byName ? (`${desc ? "-" : ""}${sort}` as const) : ("symbol" as const),
    limit: PAGE,
  };
  const list = useInfiniteQuery({
    queryKey: [...keys.configs, "list", query],
    queryFn: async ({ pageParam }) => {
      const result = await api.GET(`${BASE}/configs`, {
        params: { query: { ...query, ...(pageParam !== "" && { cursor: pageParam }) } },
      });
      return { rows: bodyOf(result), total: totalOf(result.response).rows, next: nextCursor(result.response) };
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.next,
    placeholderData: keepPreviousData,
  });
  const { hasNextPage, isFetchingNextPage, isPlaceholderData, fetchNextPage } = list;
  const readsAll = !byName && hasNextPage && !isPlaceholderData;
  useEffect(() => {
    if (readsAll && !isFetchingNextPage) void fetchNextPage();
  }, [readsAll, isFetchingNextPage, fetchNextPage]);
  const configs = useMemo(() => list.data?.pages.flatMap((page) => page.rows), [list.data]);
  return { ...list, configs, total: list.data?.pages[0]?.total ?? 0, readsAll };
}

/** The first enabled configs, and how many there are. */
export function useEnabledConfigs(limit: number) {
  return useQuery({
    queryKey: [...keys.configs, "enabled", limit],
    queryFn: async () => {
      const result = await api.GET(`${BASE}/configs`, { params: { query: { enabled: true, limit } } });
      return { configs: bodyOf(result), total: totalOf(result.response).rows };
    },
  });
}

/** Some configs that contain each of the words. */
export function useFoundConfigs(q: string, limit: number) {
  return useQuery({
    queryKey: [...keys.configs, "found", q, limit],
    queryFn: async () => {
      const query = { ...(q !== "" && { q }), sort: "symbol" as const, limit };
      return bodyOf(await api.GET(`${BASE}/configs`, { params: { query } }));
    },
    placeholderData: keepPreviousData,
  });
}

/** How many configs match a pattern of symbols, their exchanges, and the timeframes that they collect. */
export function useSelection(symbol = "*", exchange = "") {
  return useQuery({
    queryKey: [...keys.configs, "selection", symbol, exchange],
    queryFn: async () => {
      const query = { symbol, ...(exchange !== "" && { exchange }) };
      return bodyOf(await api.GET(`${BASE}/reports/config-selection`, { params: { query } }));
    },
    placeholderData: keepPreviousData,
  });
}

/** The ids in parts of one request. A new page of the list does not change the parts before it. */
function useParts(ids: readonly number[]) {
  return useMemo(
    () => Array.from({ length: Math.ceil(ids.length / PAGE) }, (_, part) => ids.slice(part * PAGE, (part + 1) * PAGE)),
    [ids],
  );
}

/**
 * Which figures are kept up to date. A range: those of the rows on the screen, at each event. `seldom`: all of them, twice
 * a minute, because a sorting by figures needs all. At each event, thousands of configs would be too many requests.
 */
export type Watched = { first: number; last: number } | "seldom";

const FIRST_PART: Watched = { first: 0, last: PAGE - 1 };
const SELDOM_MS = 30_000;

/** The whole parts of a list that contain these rows. */
export function partsWith(first: number, last: number): { first: number; last: number } {
  return { first: first - (first % PAGE), last: last - (last % PAGE) + PAGE - 1 };
}

const isWatched = (watched: Watched, part: number) =>
  watched === "seldom" || (part * PAGE <= watched.last && (part + 1) * PAGE > watched.first);

/** The last runs and the next run of these configs, by config id. */
export function useActivity(ids: readonly number[], watched: Watched = FIRST_PART): ReadonlyMap<number, Activity> {
  const parts = useParts(ids);
  const seldom = watched === "seldom";
  return useQueries({
    queries: parts.map((part, index) => ({
      // An event marks the group `activity` as outdated.
      queryKey: [...(seldom ? keys.seldomActivity : keys.activity), part],
      queryFn: async () =>
        bodyOf(await api.GET(`${BASE}/reports/config-activity`, { params: { query: { config_id: part } } })),
      enabled: isWatched(watched, index),
      ...(seldom && { refetchInterval: SELDOM_MS, staleTime: SELDOM_MS }),
    })),
    combine: byConfig,
  });
}

function byConfig(results: readonly { data: Activity[] | undefined }[]): ReadonlyMap<number, Activity> {
  return new Map(results.flatMap(({ data }) => data ?? []).map((each) => [each.config_id, each]));
}

/** The whole percentage of those of these configs that have periods. */
export function useWholePercent(
  ids: readonly number[],
  watched: Watched = FIRST_PART,
): ReadonlyMap<number, number | null> {
  const parts = useParts(ids);
  return useQueries({
    queries: parts.map((part, index) => ({
      queryKey: [...keys.completeness, "config", part],
      queryFn: () => readWholePercent(part),
      enabled: isWatched(watched, index),
      refetchInterval: COMPLETENESS_EVERY_MS,
    })),
    combine: byWholePercent,
  });
}

type Percent = readonly [number, number | null];

async function readWholePercent(ids: readonly number[]): Promise<Percent[]> {
  const query = { group_by: "config" as const, config_id: [...ids], limit: PAGE };
  const rows = bodyOf(await api.GET(`${BASE}/completeness`, { params: { query } }));
  return rows.map((row) => [row.config_id ?? 0, row.whole_percent]);
}

function byWholePercent(results: readonly { data: Percent[] | undefined }[]): ReadonlyMap<number, number | null> {
  return new Map(results.flatMap(({ data }) => data ?? []));
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
    onSettled: () => readAgain(queries, keys.all),
  });
}
