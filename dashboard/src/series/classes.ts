/** Classes of absences by what can be done about them. */
export type Kind = "open" | "lost" | "harmless";

const KINDS: Record<string, Kind> = {
  unread: "open",
  unknown: "open",
  rejected: "open",
  beyond_horizon: "lost",
  lost_at_source: "lost",
  no_trade: "harmless",
  outage: "harmless",
  before_listing: "harmless",
  delisted: "harmless",
};

/** `open`: it may be filled. `lost`: candles existed and cannot be had. `harmless`: there were no candles. */
export const kindOf = (absenceClass: string): Kind => KINDS[absenceClass] ?? "open";
