import type { Schemas } from "../api/client";

export type AuditEntry = Schemas["AuditEntry"];

/** One field of a change. `before` is undefined for an object that is new. */
export interface Change {
  field: string;
  before: string | undefined;
  after: string | undefined;
}

/** These change with each write and say nothing. */
const SILENT = new Set(["version", "updated_at", "created_at", "id", "job_id", "warnings"]);

/** The fields that an entry changed: their values before and after. */
export function changesOf({ before, after }: Pick<AuditEntry, "before" | "after">): Change[] {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  return names
    .filter((name) => !SILENT.has(name))
    .map((field) => ({ field, before: shown(before?.[field]), after: shown(after?.[field]) }))
    .filter((change) => change.before !== change.after);
}

function shown(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value)) return value.join(", ");
  return value === null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);
}
