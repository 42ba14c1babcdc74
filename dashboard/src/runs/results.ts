/** The outcome of one timeframe of a run. */
export interface TimeframeResult {
  timeframe: string;
  candles: number;
  pages: number;
  from: string | null;
  to: string | null;
  error: string | null;
  notes: string[];
  rejected: number;
}

/** The results in the metadata of a run. The API passes metadata on as it was written, so each field is checked. */
export function resultsOf(metadata: Record<string, unknown>): TimeframeResult[] {
  const results = Array.isArray(metadata.results) ? metadata.results : [];
  return results.filter(isObject).map((each) => ({
    timeframe: text(each.timeframe) ?? "?",
    candles: number(each.candles),
    pages: number(each.pages),
    from: text(each.from),
    to: text(each.to),
    error: text(each.error),
    notes: Array.isArray(each.notes) ? each.notes.filter((note) => typeof note === "string") : [],
    rejected: number(each.rejected_count),
  }));
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const text = (value: unknown) => (typeof value === "string" ? value : null);
const number = (value: unknown) => (typeof value === "number" ? value : 0);
