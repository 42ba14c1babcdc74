import { useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { keys } from "../api/keys";
import { readAgain } from "../api/readAgain";
import { type ExchangeHealth, type LiveState, openEvents } from "./events";

const LiveContext = createContext<{ state: LiveState; exchanges: ReadonlyMap<string, ExchangeHealth> } | null>(null);

const READ_AFTER_MS = 700;
/** log-writer stores runs and schedules after their events, and much later if it is busy. So they are read several times. */
const READ_STORED_AFTER_MS = [READ_AFTER_MS, 6000, 30_000, 90_000];
/** Reading the progress of a large backfill takes some time, and events come each second. */
const BACKFILLS_AFTER_MS = 2000;
const POLL_MS = 5000;

/** Calls `work` at each of these times after the last of several calls, and while calls go on, once in each time. */
function coalesced(work: () => void, delays: readonly number[]): { call: () => void; cancel: () => void } {
  const timers = new Map<number, number>();
  let calledAt = 0;
  const start = (delay: number) => {
    const latest = calledAt;
    const end = () => {
      timers.delete(delay);
      work();
      if (calledAt > latest) start(delay);
    };
    timers.set(delay, window.setTimeout(end, Math.max(0, calledAt + delay - performance.now())));
  };
  return {
    call() {
      calledAt = performance.now();
      for (const delay of delays) if (!timers.has(delay)) start(delay);
    },
    cancel() {
      for (const timer of timers.values()) window.clearTimeout(timer);
    },
  };
}

/** Reads the event stream and marks the affected queries as outdated. While there is no stream, it polls. */
export function LiveProvider({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [state, setState] = useState<LiveState>("connecting");
  const [exchanges, setExchanges] = useState<ReadonlyMap<string, ExchangeHealth>>(new Map());

  useEffect(() => {
    const refresh = (...groups: readonly (readonly (string | number)[])[]) => {
      for (const group of groups) void readAgain(queries, group);
    };
    const runs = coalesced(() => refresh(keys.runs, keys.activity, keys.status), READ_STORED_AFTER_MS);
    const configs = coalesced(() => refresh(keys.configs, keys.status), [READ_AFTER_MS]);
    const jobs = coalesced(() => refresh(keys.activity), READ_STORED_AFTER_MS);
    const progressed = new Set<number>();
    const backfills = coalesced(() => {
      for (const id of progressed) refresh([...keys.backfills, "one", id]);
      progressed.clear();
      refresh(keys.oneSeries);
    }, [BACKFILLS_AFTER_MS]);
    const close = openEvents({
      onState: setState,
      onRun: runs.call,
      onConfig: configs.call,
      onJob: jobs.call,
      onBackfill({ type, backfill_id }) {
        if (type === "BackfillChanged") refresh(keys.backfills);
        progressed.add(backfill_id);
        backfills.call();
      },
      onExchange: (health) => setExchanges((before) => new Map(before).set(health.exchange, health)),
      onReset: () => refresh(keys.all),
    });
    return () => {
      close();
      for (const each of [runs, configs, jobs, backfills]) each.cancel();
    };
  }, [queries]);

  useEffect(() => {
    if (state !== "polling") return;
    const timer = window.setInterval(() => void readAgain(queries, keys.all), POLL_MS);
    return () => window.clearInterval(timer);
  }, [state, queries]);

  const value = useMemo(() => ({ state, exchanges }), [state, exchanges]);
  return <LiveContext value={value}>{children}</LiveContext>;
}

export function useLive() {
  const value = useContext(LiveContext);
  if (value === null) throw new Error("LiveProvider is missing");
  return value;
}
