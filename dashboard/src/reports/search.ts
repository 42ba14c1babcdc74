const RANGES = ["24h", "7d", "30d"] as const;
export type Range = (typeof RANGES)[number];

/** The time that the reports cover, as it is in the address; without one, a week. */
export interface ReportsSearch {
  range?: Range;
}

export function reportsSearch(raw: Record<string, unknown>): ReportsSearch {
  const range = RANGES.find((each) => each === raw.range);
  return range === undefined ? {} : { range };
}

export const HOURS: Record<Range, number> = { "24h": 24, "7d": 168, "30d": 720 };
/** A chart has at most 169 points. */
export const SPANS: Record<Range, "hour" | "day"> = { "24h": "hour", "7d": "hour", "30d": "day" };
