import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { api, BASE, bodyOf, nextCursor, type Schemas, totalOf } from "../api/client";
import { keys } from "../api/keys";
import { readAgain } from "../api/readAgain";
import type { NewBackfill } from "./form";
import type { ChunkState, State } from "./search";

export type Backfill = Schemas["Backfill"];
export type BackfillDetails = Schemas["BackfillDetails"];
export type Estimate = Schemas["Estimate"];
export type DryRun = Schemas["DryRun"];
export type Chunk = Schemas["BackfillChunk"];
export type SeriesProgress = Schemas["BackfillSeries"];
export type Action = "pause" | "resume" | "cancel";

const PAGE = 100;
const LIST_PAGE = 30;
const PROGRESS_EVERY_MS = 30_000;

export function useBackfills(state: State | undefined) {
  return useInfiniteQuery({
    queryKey: [...keys.backfills, "list", state],
    queryFn: async ({ pageParam }) => {
      const query = { limit: LIST_PAGE, ...(state && { state }), ...(pageParam !== null && { cursor: pageParam }) };
      const result = await api.GET(`${BASE}/backfills`, { params: { query } });
      return { rows: bodyOf(result), total: totalOf(result.response), next: nextCursor(result.response) ?? null };
    },
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next,
  });
}

/** One backfill with its progress. The rate and the time of the end change also without an event. */
export function useBackfill(id: number) {
  return useQuery({
    queryKey: [...keys.backfills, "one", id],
    queryFn: async () =>
      bodyOf(await api.GET(`${BASE}/backfills/{backfill_id}`, { params: { path: { backfill_id: id } } })),
    refetchInterval: (query) => (query.state.data?.state === "active" ? PROGRESS_EVERY_MS : false),
  });
}

/** Reads the series and the chunks again after each change of the progress, so that they are never older than it. */
export function useFreshParts({ id, progress }: BackfillDetails) {
  const queries = useQueryClient();
  const known = useRef(progress);
  useEffect(() => {
    if (known.current === progress) return;
    known.current = progress;
    void readAgain(queries, [...keys.backfills, "parts", id]);
  }, [queries, id, progress]);
}

export function useBackfillSeries(id: number, enabled: boolean) {
  return useInfiniteQuery({
    queryKey: [...keys.backfills, "parts", id, "series"],
    queryFn: async ({ pageParam }) => {
      const query = { limit: PAGE, ...(pageParam !== null && { cursor: pageParam }) };
      const params = { path: { backfill_id: id }, query };
      const result = await api.GET(`${BASE}/backfills/{backfill_id}/series`, { params });
      return { rows: bodyOf(result), total: totalOf(result.response), next: nextCursor(result.response) ?? null };
    },
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next,
    enabled,
  });
}

export function useBackfillChunks(id: number, state: ChunkState | undefined, enabled: boolean) {
  return useInfiniteQuery({
    queryKey: [...keys.backfills, "parts", id, "chunks", state],
    queryFn: async ({ pageParam }) => {
      const query = { limit: PAGE, ...(state && { state }), ...(pageParam !== null && { cursor: pageParam }) };
      const params = { path: { backfill_id: id }, query };
      const result = await api.GET(`${BASE}/backfills/{backfill_id}/chunks`, { params });
      return { rows: bodyOf(result), total: totalOf(result.response), next: nextCursor(result.response) ?? null };
    },
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next,
    enabled,
  });
}

/** The cost of a backfill, without creating it. */
export function useDryRun(body: NewBackfill | undefined, enabled: boolean) {
  return useQuery({
    queryKey: ["backfill-dry-run", body],
    queryFn: async () => {
      if (body === undefined) throw new Error("There is no request.");
      return bodyOf(await api.POST(`${BASE}/backfills`, { body: body as never })) as unknown as DryRun;
    },
    enabled: enabled && body !== undefined,
    retry: false,
  });
}

/** Creates a backfill. `key` makes a repeated request harmless. */
export function useCreateBackfill() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async ({ body, key }: { body: NewBackfill; key: string }) => {
      const params = { header: { "Idempotency-Key": key } };
      return bodyOf(await api.POST(`${BASE}/backfills`, { body: body as never, params })) as Backfill;
    },
    onSuccess: () => readAgain(queries, keys.backfills),
  });
}

/** Pauses, resumes or cancels the version of the backfill that the person sees. */
export function useBackfillAction() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async ({ backfill, action }: { backfill: Backfill; action: Action }) => {
      const params = { path: { backfill_id: backfill.id }, header: { "If-Match": `"${backfill.version}"` } };
      if (action === "pause") await api.POST(`${BASE}/backfills/{backfill_id}/pause`, { params });
      else if (action === "resume") await api.POST(`${BASE}/backfills/{backfill_id}/resume`, { params });
      else await api.POST(`${BASE}/backfills/{backfill_id}/cancel`, { params });
    },
    onSettled: () => readAgain(queries, keys.backfills),
  });
}
