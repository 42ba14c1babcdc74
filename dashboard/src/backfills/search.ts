export const STATES = ["active", "paused", "cancelled"] as const;
export const CHUNK_STATES = ["waiting", "requested", "failed", "verified", "classified", "cancelled"] as const;
export type State = (typeof STATES)[number];
export type ChunkState = (typeof CHUNK_STATES)[number];

/** The filter of the list of backfills, and the open form with the values that a link gave it. */
export interface BackfillsSearch {
  state?: State;
  create?: true;
  exchange?: string;
  symbol?: string;
  timeframe?: string;
  start?: string;
  end?: string;
}

const TEXTS = ["exchange", "symbol", "timeframe", "start", "end"] as const;

/** Values that mean nothing are left out. */
export function backfillsSearch(raw: Record<string, unknown>): BackfillsSearch {
  const state = STATES.find((each) => each === raw.state);
  const texts = TEXTS.flatMap((name) => {
    const value = raw[name];
    return typeof value === "string" && value !== "" ? [[name, value]] : [];
  });
  return {
    ...(state && { state }),
    ...(String(raw.create) === "true" && { create: true as const }),
    ...Object.fromEntries(texts),
  };
}

/** The part of a backfill that its page shows, and the filter of its chunks. */
export interface BackfillSearch {
  part?: "chunks";
  chunks?: ChunkState;
}

export function backfillSearch(raw: Record<string, unknown>): BackfillSearch {
  const chunks = CHUNK_STATES.find((each) => each === raw.chunks);
  return { ...(raw.part === "chunks" && { part: "chunks" as const }), ...(chunks && { chunks }) };
}
