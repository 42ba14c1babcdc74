export interface ConfigsSearch {
  q?: string;
}
export function configsSearch(raw: Record<string, unknown>): ConfigsSearch {
  return typeof raw.q === "string" && raw.q !== "" ? { q: raw.q } : {};
}
