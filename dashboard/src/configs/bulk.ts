import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, BASE, bodyOf, type Schemas } from "../api/client";
import { keys } from "../api/keys";
import { readAgain } from "../api/readAgain";
import type { Action } from "./queries";

export type BulkItem = Schemas["BulkItem"];

/** The API accepts at most so many configs in one request. */
const PER_REQUEST = 1000;

async function bulk(action: Action, ids: number[]) {
  const body = { select: { ids }, dry_run: false, atomic: false };
  if (action === "trigger") return bodyOf(await api.POST(`${BASE}/configs/bulk/trigger`, { body }));
  if (action === "enable") return bodyOf(await api.POST(`${BASE}/configs/bulk/enable`, { body }));
  if (action === "disable") return bodyOf(await api.POST(`${BASE}/configs/bulk/disable`, { body }));
  return bodyOf(await api.POST(`${BASE}/configs/bulk/delete`, { body }));
}

/** An action on many configs. Each succeeds or fails for itself. */
export function useBulkAction() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async ({ action, ids }: { action: Action; ids: number[] }) => {
      const items: BulkItem[] = [];
      for (let start = 0; start < ids.length; start += PER_REQUEST) {
        const part = await bulk(action, ids.slice(start, start + PER_REQUEST));
        items.push(...part.items.map((item) => ({ ...item, index: item.index + start })));
      }
      return items;
    },
    onSettled: () => readAgain(queries, keys.all),
  });
}
