import createClient, { type Middleware } from "openapi-fetch";
import { Problem } from "./problem";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Config = Schemas["Config"];
export type Run = Schemas["ExecutionLog"];
export type Exchange = Schemas["Exchange"];
export type ExchangeDetails = Schemas["ExchangeDetails"];
export type Me = Schemas["Me"];
export type Role = Me["role"];

export const BASE = "/api/v1/admin/data-collection";
/** Changing requests need it over plain HTTP: a page of another site cannot send it. See docs/security.md. */
const CSRF_HEADER = "X-CSRF-Protection";

const errorsAsProblems: Middleware = {
  onRequest({ request }) {
    if (request.method !== "GET") request.headers.set(CSRF_HEADER, "1");
    return request;
  },
  async onResponse({ response }) {
    if (!response.ok) throw await Problem.of(response);
  },
  onError({ error }) {
    return Problem.ofNetwork(error);
  },
};

/** The client of the API, generated from its description. It throws a `Problem` for each response that is an error. */
export const api = createClient<paths>({ baseUrl: window.location.origin, credentials: "same-origin" });
api.use(errorsAsProblems);

/** The body of a response. The client has thrown already if the response was an error. */
export function bodyOf<T>(result: { data?: T; response: Response }): T {
  if (result.data === undefined) throw new Error(`The response to ${result.response.url} has no body.`);
  return result.data;
}

/** The cursor of the next page, from the header Link; undefined on the last page. */
export function nextCursor(response: Response): string | undefined {
  const link = response.headers
    .get("Link")
    ?.split(", <")
    .find((part) => part.includes('rel="next"'));
  const target = link?.replace(/^</, "").split(">")[0];
  return target === undefined
    ? undefined
    : (new URL(target, window.location.origin).searchParams.get("cursor") ?? undefined);
}

/** The number of rows in all pages. Above 10,000 the API estimates it. */
export function totalOf(response: Response): { rows: number; exact: boolean } {
  return {
    rows: Number(response.headers.get("X-Total-Count") ?? 0),
    exact: response.headers.get("X-Total-Count-Exact") !== "false",
  };
}
