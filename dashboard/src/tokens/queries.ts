import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, BASE, bodyOf, nextCursor, type Role, type Schemas } from "../api/client";
import { keys } from "../api/keys";
import { readAgain } from "../api/readAgain";

export type Token = Schemas["Token"];
export type IssuedToken = Schemas["IssuedToken"];
export interface NewToken {
  name: string;
  role: Role;
  expires_in_days: number | null;
}

const PAGE = 50;

export function useTokens(enabled: boolean) {
  return useInfiniteQuery({
    queryKey: [...keys.tokens],
    queryFn: async ({ pageParam }) => {
      const query = { limit: PAGE, ...(pageParam !== null && { cursor: pageParam }) };
      const result = await api.GET(`${BASE}/tokens`, { params: { query } });
      return { rows: bodyOf(result), next: nextCursor(result.response) ?? null };
    },
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next,
    enabled,
  });
}

/** Creates, rotates and revokes tokens. Secrets are in the results only, never in the cache of queries. */
export function useTokenActions() {
  const queries = useQueryClient();
  const onSettled = () => readAgain(queries, keys.tokens);
  const create = useMutation({
    mutationFn: async (token: NewToken) => bodyOf(await api.POST(`${BASE}/tokens`, { body: token })),
    onSettled,
    gcTime: 0,
  });
  const rotate = useMutation({
    mutationFn: async ({ id, graceMinutes }: { id: number; graceMinutes: number }) => {
      const params = { path: { token_id: id } };
      const body = { grace_minutes: graceMinutes };
      return bodyOf(await api.POST(`${BASE}/tokens/{token_id}/rotate`, { params, body }));
    },
    onSettled,
    gcTime: 0,
  });
  const revoke = useMutation({
    mutationFn: (id: number) => api.DELETE(`${BASE}/tokens/{token_id}`, { params: { path: { token_id: id } } }),
    onSettled,
  });
  return { create, rotate, revoke };
}
