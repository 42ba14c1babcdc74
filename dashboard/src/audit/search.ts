const OUTCOMES = ["done", "refused"] as const;
const SINCE = ["24h", "7d", "30d"] as const;
const TEXTS = ["actor", "action", "object_type", "object_id"] as const;
export type Since = (typeof SINCE)[number];

/** The filters of the audit log and the request whose entries are open, as they are in the address. */
export interface AuditSearch {
  actor?: string;
  action?: string;
  object_type?: string;
  object_id?: string;
  outcome?: (typeof OUTCOMES)[number];
  since?: Since;
  request?: string;
}

/** Values that mean nothing are left out. */
export function auditSearch(raw: Record<string, unknown>): AuditSearch {
  const outcome = OUTCOMES.find((each) => each === raw.outcome);
  const since = SINCE.find((each) => each === raw.since);
  const texts = [...TEXTS, "request" as const].flatMap((name) => {
    const value = raw[name];
    return typeof value === "string" && value !== "" ? [[name, value]] : [];
  });
  return { ...(outcome && { outcome }), ...(since && { since }), ...Object.fromEntries(texts) };
}

const HOURS: Record<Since, number> = { "24h": 24, "7d": 168, "30d": 720 };
const HOUR_MS = 3_600_000;

/** The filters as the query of the API. */
export function auditQuery({ since, request: _, ...filters }: AuditSearch, now: number) {
  return { ...filters, ...(since && { start_date: new Date(now - HOURS[since] * HOUR_MS).toISOString() }) };
}
