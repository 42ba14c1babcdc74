import type { QueryClient } from "@tanstack/react-query";

/**
 * Reads all queries of a group again; ends when they are read. A request in progress for a query without data goes on,
 * because the page waits for it. Its answer may be older than the change, so the query is read again after it.
 * `invalidateQueries` alone would not do so.
 */
export async function readAgain(queries: QueryClient, group: readonly (string | number)[]): Promise<void> {
  const reads = queries
    .getQueryCache()
    .findAll({ queryKey: group })
    .map(({ promise, queryKey, state }) => {
      const query = { queryKey, exact: true };
      if (state.data !== undefined || state.fetchStatus !== "fetching") return queries.invalidateQueries(query);
      const read = () => queries.invalidateQueries(query, { cancelRefetch: false });
      return Promise.resolve(promise).then(read, read);
    });
  await Promise.all(reads);
}
