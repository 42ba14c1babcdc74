const SHOWN = ["enabled", "disabled"] as const;
const SORTS = ["symbol", "exchange", "next", "success", "duration", "whole"] as const;
export type Sort = (typeof SORTS)[number];

/** The API sorts by these; the browser by the others, which are figures. */
export const isServerSort = (sort: Sort): sort is "symbol" | "exchange" => sort === "symbol" || sort === "exchange";

/** Search, filters, sorting and the open drawer of the table of configs, as they are in the address. */
export interface ConfigsSearch {
  q?: string;
  exchange?: string;
  shown?: (typeof SHOWN)[number];
  sort?: Sort;
  desc?: true;
  /** The config in the drawer; `new` for a config to create. */
  edit?: number | "new";
}

/** Values that mean nothing are left out. */
export function configsSearch(raw: Record<string, unknown>): ConfigsSearch {
  const shown = SHOWN.find((each) => each === raw.shown);
  const sort = SORTS.find((each) => each === raw.sort);
  const id = Number(raw.edit);
  const edit = raw.edit === "new" ? ("new" as const) : Number.isSafeInteger(id) && id > 0 ? id : undefined;
  return {
    ...(typeof raw.q === "string" && raw.q !== "" && { q: raw.q }),
    ...(typeof raw.exchange === "string" && raw.exchange !== "" && { exchange: raw.exchange }),
    ...(shown && { shown }),
    ...(sort && { sort }),
    ...(String(raw.desc) === "true" && { desc: true as const }),
    ...(edit !== undefined && { edit }),
  };
}
