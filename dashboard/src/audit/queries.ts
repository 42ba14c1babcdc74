import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { api, BASE, bodyOf, nextCursor, type Schemas, totalOf } from "../api/client";
import { keys } from "../api/keys";
import { type AuditSearch, auditQuery } from "./search";

export type AuditEntry = Schemas["AuditEntry"];
const PAGE = 100;
const ENTRIES_OF_A_REQUEST = 1000;

/**
 * The audit log, latest first, page by page. A cursor belongs to its filters, so its page starts at the same time. It is
 * read again only when a person asks for it, so that no row moves.
 */
export function useAuditLog(search: AuditSearch, enabled: boolean) {
  const { request: _, ...filters } = search;
  return useInfiniteQuery({
    queryKey: ["audit-list", filters],
    queryFn: async ({ pageParam }) => {
      const now = pageParam?.now ?? Date.now();
      const cursor = pageParam && { cursor: pageParam.cursor };
      const query = { ...auditQuery(filters, now), limit: PAGE, ...cursor };
      const result = await api.GET(`${BASE}/audit-log`, { params: { query } });
      const next = nextCursor(result.response);
      return {
        rows: bodyOf(result),
        total: totalOf(result.response),
        next: next === undefined ? null : { cursor: next, now },
      };
    },
    initialPageParam: null as { cursor: string; now: number } | null,
    getNextPageParam: (last) => last.next,
    enabled,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
}

/** All entries of one request, for example of a bulk change. */
export function useEntriesOfRequest(requestId: string | undefined) {
  return useQuery({
    queryKey: [...keys.audit, "request", requestId],
    queryFn: async () => {
      const query = { request_id: requestId ?? "", limit: ENTRIES_OF_A_REQUEST };
      return bodyOf(await api.GET(`${BASE}/audit-log`, { params: { query } }));
    },
    enabled: requestId !== undefined,
  });
}
