import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { api, BASE, bodyOf, nextCursor, type Schemas } from "../api/client";
import { keys } from "../api/keys";
import { readAgain } from "../api/readAgain";
import { iso, pathOf, type SeriesName, type SeriesSearch } from "./search";
import type { Window } from "./windows";

export type Chart = Schemas["Chart"];
export type ChartPoint = Schemas["ChartPoint"];
export type Span = Schemas["ClassifiedSpan"];
export type Completeness = Schemas["Completeness"];
export type Incident = Schemas["Incident"];
export type StoredSeries = Schemas["StoredSeries"];

const PAGE = 500;
const MAX_SPANS = 1000;
const READ_EVERY_MS = 30_000;
/** The points of a chart: three screens of them. */
export const POINTS = 1500;

/** A series that a config collects or that has candles. `stored` is undefined without candles. */
export interface SeriesRow extends SeriesName {
  completeness: Completeness;
  stored: StoredSeries | undefined;
}

/** The list of series, page by page, with their completeness. Both lists of the API have the same order. */
export function useSeriesList(search: SeriesSearch) {
  const list = useInfiniteQuery({
    queryKey: [...keys.completeness, "series", search],
    queryFn: ({ pageParam }) => readSeries(search, pageParam),
    initialPageParam: {} as Cursors,
    getNextPageParam: (last) => (last.next.completeness === undefined ? undefined : last.next),
    refetchInterval: READ_EVERY_MS,
  });
  const rows = useMemo(() => {
    const stored = new Map(list.data?.pages.flatMap((page) => page.stored).map((each) => [pathOf(each), each]));
    return (
      list.data?.pages.flatMap((page) =>
        page.rows.map((completeness): SeriesRow => {
          const { exchange, symbol, timeframe } = completeness;
          const name = { exchange: exchange ?? "", symbol: symbol ?? "", timeframe: timeframe ?? "" };
          return { ...name, completeness, stored: stored.get(pathOf(name)) };
        }),
      ) ?? []
    );
  }, [list.data]);
  return { ...list, rows };
}

interface Cursors {
  completeness?: string | undefined;
  stored?: string | undefined;
  /** All pages of stored series were read. */
  storedEnds?: boolean;
}

async function readSeries(search: SeriesSearch, cursors: Cursors) {
  const query = { ...search, limit: PAGE };
  const [numbers, stored] = await Promise.all([
    api.GET(`${BASE}/completeness`, {
      params: {
        query: { ...query, group_by: "series", ...(cursors.completeness && { cursor: cursors.completeness }) },
      },
    }),
    cursors.storedEnds
      ? null
      : api.GET(`${BASE}/series`, {
          params: { query: { ...query, ...(cursors.stored && { cursor: cursors.stored }) } },
        }),
  ]);
  const following = stored === null ? undefined : nextCursor(stored.response);
  return {
    rows: bodyOf(numbers),
    stored: stored === null ? [] : bodyOf(stored),
    next: { completeness: nextCursor(numbers.response), stored: following, storedEnds: following === undefined },
  };
}

/** The series of one market, in all its timeframes. */
export function useMarket({ exchange, symbol }: SeriesName) {
  return useQuery({
    queryKey: [...keys.oneSeries, "market", exchange, symbol],
    queryFn: async () => {
      const query = { exchange, symbol, limit: 100 };
      const [stored, numbers] = await Promise.all([
        api.GET(`${BASE}/series`, { params: { query } }),
        api.GET(`${BASE}/completeness`, { params: { query: { ...query, group_by: "series" } } }),
      ]);
      return { stored: bodyOf(stored), completeness: bodyOf(numbers) };
    },
    refetchInterval: READ_EVERY_MS,
  });
}

export function useChart(name: SeriesName, window: Window | null) {
  return useQuery({
    queryKey: [...keys.oneSeries, "chart", pathOf(name), window],
    queryFn: async () => {
      const range = window === null ? {} : { start: iso(window.from), end: iso(window.to) };
      const query = { ...name, ...range, points: POINTS };
      return bodyOf(await api.GET(`${BASE}/candles/chart`, { params: { query } }));
    },
    enabled: window !== null,
    placeholderData: keepPreviousData,
    refetchInterval: READ_EVERY_MS,
  });
}

/** The open holes and the absences of a range, ascending; of the whole series without a range. */
export function useHoles(name: SeriesName, window: Window | null, enabled = true) {
  return useQuery({
    queryKey: [...keys.oneSeries, "holes", pathOf(name), window],
    queryFn: async () => {
      const range = window === null ? {} : { start: iso(window.from), end: iso(window.to) };
      const coverage = bodyOf(
        await api.GET(`${BASE}/coverage`, { params: { query: { ...name, ...range, limit: MAX_SPANS } } }),
      );
      const spans = [...coverage.open_holes, ...coverage.absences].sort(
        (one, other) => Date.parse(one.start) - Date.parse(other.start),
      );
      return { spans, coverage };
    },
    enabled,
    placeholderData: keepPreviousData,
    refetchInterval: READ_EVERY_MS,
  });
}

const MAX_INCIDENTS = 10;

/** The time of the span in which all symbols of the exchange were silent. `more`: the API has further pages. */
export function useIncidents({ exchange, timeframe }: SeriesName, { start, end }: Span) {
  return useQuery({
    queryKey: [...keys.incidents, exchange, timeframe, start, end],
    queryFn: async () => {
      const query = { exchange, timeframe, start, end, limit: MAX_INCIDENTS };
      const answer = await api.GET(`${BASE}/incidents`, { params: { query } });
      return { incidents: bodyOf(answer), more: nextCursor(answer.response) !== undefined };
    },
  });
}

const DAYS = 364;
const DAY_MS = 86_400_000;

/** The completeness of each of the last 52 weeks' days. */
export function useDays(name: SeriesName) {
  return useQuery({
    queryKey: [...keys.oneSeries, "days", pathOf(name)],
    queryFn: async () => {
      const start = new Date(Date.now() - DAYS * DAY_MS).toISOString().slice(0, 10);
      const query = { ...name, group_by: "series" as const, per_day: true, start };
      const [row] = bodyOf(await api.GET(`${BASE}/completeness`, { params: { query } }));
      return { start, days: row?.days ?? [] };
    },
    refetchInterval: 2 * READ_EVERY_MS,
  });
}

export function useRejected(name: SeriesName) {
  return useQuery({
    queryKey: [...keys.oneSeries, "rejected", pathOf(name)],
    queryFn: async () => {
      const query = { ...name, sort: "-open_time" as const, limit: 50 };
      return bodyOf(await api.GET(`${BASE}/rejected-candles`, { params: { query } }));
    },
  });
}

/** Orders a backfill of one span. It is read again in any case: a hole of the last minutes would wait otherwise. */
export function useFill(name: SeriesName) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async ({ span, description }: { span: Span; description: string }) => {
      const body = {
        series: [name],
        start: span.start,
        end: span.end,
        mode: "all" as const,
        source: "candles" as const,
        description,
        dry_run: false,
      };
      const made = bodyOf(await api.POST(`${BASE}/backfills`, { body }));
      if (!("id" in made)) throw new Error("The API answered an estimate instead of a backfill.");
      return made;
    },
    onSettled: () => readAgain(queries, keys.completeness),
  });
}
