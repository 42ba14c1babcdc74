import { type InfiniteData, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo } from "react";
import { api, BASE, bodyOf, nextCursor, type Run, totalOf } from "../api/client";
import { keys } from "../api/keys";
import { hasGap, newRuns, withUpdates } from "./merge";
import { type RunsSearch, runsQuery } from "./search";

const PAGE = 100;

interface RunsPart {
  runs: Run[];
  total: { rows: number; exact: boolean };
  next: { cursor: string; startedSince: number } | undefined;
}

async function readRuns(search: RunsSearch, now: number, cursor?: string): Promise<RunsPart> {
  const query = { ...runsQuery(search, now), limit: PAGE, ...(cursor !== undefined && { cursor }) };
  const result = await api.GET(`${BASE}/execution-logs`, { params: { query } });
  const next = nextCursor(result.response);
  return {
    runs: bodyOf(result),
    total: totalOf(result.response),
    // A cursor belongs to its filters, and the start of "the last hour" is one of them.
    next: next === undefined ? undefined : { cursor: next, startedSince: now },
  };
}

/**
 * The list of runs, page by page. Its rows stay where they are: new runs wait until `showNew` is called, and runs that
 * are listed change in place.
 */
export function useRuns(search: RunsSearch) {
  const queries = useQueryClient();
  const listKey = useMemo(() => ["run-list", search], [search]);
  const list = useInfiniteQuery({
    queryKey: listKey,
    queryFn: ({ pageParam }) => readRuns(search, pageParam?.startedSince ?? Date.now(), pageParam?.cursor),
    initialPageParam: undefined as RunsPart["next"],
    getNextPageParam: (last) => last.next,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
  });
  const latest = useQuery({
    queryKey: [...keys.runs, "latest", search],
    queryFn: () => readRuns(search, Date.now()),
    enabled: list.isSuccess,
  });

  const listed = useMemo(() => list.data?.pages.flatMap((page) => page.runs) ?? [], [list.data]);
  const newest = useMemo(() => latest.data?.runs ?? [], [latest.data]);
  const runs = useMemo(() => withUpdates(listed, newest), [listed, newest]);
  const waiting = useMemo(() => newRuns(listed, newest), [listed, newest]);

  const { refetch } = list;
  useEffect(() => {
    if (hasGap(listed, newest, PAGE)) void refetch();
  }, [listed, newest, refetch]);

  const showNew = useCallback(() => {
    queries.setQueryData<InfiniteData<RunsPart>>(listKey, (before) => {
      const [first, ...rest] = before?.pages ?? [];
      if (before === undefined || first === undefined) return before;
      return { ...before, pages: [{ ...first, runs: [...waiting, ...first.runs] }, ...rest] };
    });
  }, [queries, listKey, waiting]);

  return {
    runs,
    waiting: waiting.length,
    showNew,
    total: latest.data?.total ?? list.data?.pages[0]?.total,
    error: list.error,
    isLoading: list.isPending,
    refetch,
    hasMore: list.hasNextPage,
    isLoadingMore: list.isFetchingNextPage,
    loadMore: list.fetchNextPage,
  };
}

export function useRun(logId: number) {
  return useQuery({
    queryKey: [...keys.runs, "one", logId],
    queryFn: async () =>
      bodyOf(await api.GET(`${BASE}/execution-logs/{log_id}`, { params: { path: { log_id: logId } } })),
  });
}
