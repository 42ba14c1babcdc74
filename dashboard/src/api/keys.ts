/** The keys of all queries. A key is the prefix of the keys of its group, so a group is marked as outdated at once. */
const all = ["api"] as const;

export const keys = {
  all,
  me: ["me"] as const,
  runs: [...all, "runs"] as const,
  status: [...all, "status"] as const,
  configs: [...all, "configs"] as const,
  /** The last runs and the next run of each config. */
  activity: [...all, "activity"] as const,
  /** The same of all configs, for a sorting. Events do not mark it as outdated. */
  seldomActivity: [...all, "seldom-activity"] as const,
  completeness: [...all, "completeness"] as const,
  /** The chart, the holes and the numbers of the series on the screen. */
  oneSeries: [...all, "completeness", "one"] as const,
  /** The silence of all symbols of an exchange. Events do not mark it as outdated. */
  incidents: [...all, "incidents"] as const,
  exchanges: [...all, "exchanges"] as const,
  reports: [...all, "reports"] as const,
  backfills: [...all, "backfills"] as const,
  audit: [...all, "audit"] as const,
  tokens: [...all, "tokens"] as const,
};
