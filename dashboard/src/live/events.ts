import { BASE, type Run } from "../api/client";

export type LiveState = "connecting" | "live" | "polling";

/** The health of one exchange as its collector reports it. */
export interface ExchangeHealth {
  exchange: string;
  state: string;
  until: string | null;
  error_class: string | null;
  reason: string | null;
}

/** The start or the end of a run, as docs/events.md describes it. */
export type RunEvent = Pick<Run, "run_id" | "config_id" | "exchange" | "symbol" | "started_at"> & { type: string };

/** A person changed a backfill, or it made progress. */
export interface BackfillEvent {
  type: "BackfillChanged" | "BackfillProgressed";
  backfill_id: number;
}

export interface Handlers {
  onState: (state: LiveState) => void;
  onRun: (event: RunEvent) => void;
  onConfig: () => void;
  onJob: () => void;
  onBackfill: (event: BackfillEvent) => void;
  onExchange: (health: ExchangeHealth) => void;
  /** Events may have been missed: the state must be read again. */
  onReset: () => void;
}

/** After this time without a connection, the page polls. */
const POLL_AFTER_MS = 6000;
const RETRY_MS = 5000;

/**
 * Keeps one event stream open. The browser itself connects again after a lost connection, and sends the id of the last
 * event, so nothing is missed. After a refusal (an HTTP error) the browser gives up; then this opens a new stream, and
 * the state is read again, because the new stream does not know the last id.
 */
export function openEvents(handlers: Handlers): () => void {
  let source: EventSource | undefined;
  let pollTimer: number | undefined;
  let retryTimer: number | undefined;

  const disconnected = () => {
    handlers.onState("connecting");
    pollTimer ??= window.setTimeout(() => handlers.onState("polling"), POLL_AFTER_MS);
  };
  const connected = () => {
    window.clearTimeout(pollTimer);
    pollTimer = undefined;
    handlers.onState("live");
  };
  const on = <T>(stream: EventSource, name: string, handle: (data: T) => void) =>
    stream.addEventListener(name, (event) => handle(JSON.parse((event as MessageEvent<string>).data) as T));

  const connect = () => {
    const stream = new EventSource(`${BASE}/events`);
    source = stream;
    stream.onopen = () => {
      connected();
      handlers.onReset(); // a new stream does not say what changed before it opened
    };
    stream.onerror = () => {
      // A stream ends after five minutes at most. That is no loss of connection: the browser returns within seconds.
      if (pollTimer === undefined) disconnected();
      if (stream.readyState === EventSource.CLOSED) retryTimer = window.setTimeout(connect, RETRY_MS);
    };
    on<RunEvent>(stream, "run", handlers.onRun);
    on<unknown>(stream, "config", handlers.onConfig);
    on<unknown>(stream, "job", handlers.onJob);
    on<BackfillEvent>(stream, "backfill", handlers.onBackfill);
    on<ExchangeHealth>(stream, "exchange", handlers.onExchange);
    on<unknown>(stream, "reset", handlers.onReset);
  };

  connect();
  return () => {
    source?.close();
    window.clearTimeout(pollTimer);
    window.clearTimeout(retryTimer);
  };
}
