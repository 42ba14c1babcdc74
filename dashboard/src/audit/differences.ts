/** A field that differs between two versions of an object; undefined where a version does not have it. */
export interface Difference {
  field: string;
  before: string | undefined;
  after: string | undefined;
}

type Version = Record<string, unknown> | null | undefined;

/** Fields that change with each change, so they say nothing. */
const ALWAYS_CHANGE = new Set(["version", "updated_at"]);

/** The fields that differ. If one version is missing, all fields of the other one. */
export function differences(before: Version, after: Version): Difference[] {
  const [old, fresh] = [before ?? {}, after ?? {}];
  const isChange = before !== null && before !== undefined && after !== null && after !== undefined;
  const fields = [...new Set([...Object.keys(old), ...Object.keys(fresh)])];
  return fields
    .map((field) => ({ field, before: shown(old[field]), after: shown(fresh[field]) }))
    .filter((each) => each.before !== each.after && !(isChange && ALWAYS_CHANGE.has(each.field)));
}

/** A value as a person reads it: lists with commas, other values as JSON. */
function shown(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.every((each) => typeof each !== "object")) return value.join(", ");
  return value === null ? "–" : JSON.stringify(value);
}
