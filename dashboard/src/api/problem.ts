import type { components } from "./schema";

type ProblemBody = components["schemas"]["Problem"];

/** An error response of the API (RFC 9457), or no response at all: then `status` is 0. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly kind: string,
    readonly requestId: string | null = null,
    readonly fields: readonly { pointer: string; detail: string }[] = [],
    readonly etag: string | null = null,
  ) {
    super(`${title}: ${detail}`);
    this.name = "Problem";
  }

  static async of(response: Response): Promise<Problem> {
    const body = (await response.json().catch(() => ({}))) as Partial<ProblemBody>;
    return new Problem(
      response.status,
      body.title ?? `HTTP ${response.status}`,
      body.detail ?? response.statusText,
      (body.type ?? "").replace("urn:candlekeep:problem:", ""),
      body.request_id ?? null,
      body.errors ?? [],
      response.headers.get("ETag"),
    );
  }

  static ofNetwork(error: unknown): Problem {
    if (error instanceof Problem) return error;
    return new Problem(0, "", error instanceof Error ? error.message : String(error), "network");
  }
}

export function isProblem(error: unknown, status?: number): error is Problem {
  return error instanceof Problem && (status === undefined || error.status === status);
}
