import { Skeleton } from "@mantine/core";
import { IconCircleCheck, IconCircleX } from "@tabler/icons-react";
import type { Schemas } from "../api/client";
import { absoluteTime, durationText, useNow, useTimeStyle } from "../app/time";
import { ErrorState } from "../components/states";
import { useExchangeReport, useExchangeUse } from "../exchanges/queries";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import type { ExchangeHealth } from "../live/events";
import { useLive } from "../live/LiveProvider";
import classes from "./OverviewPage.module.css";
import { useExchangeCompleteness } from "./queries";

type ExchangeUse = Schemas["ExchangeUse"];
/** Above it, retries and backfills may not fit beside the scheduled runs. */
const HIGH_SHARE = 0.8;
const GOOD_SUCCESS = 95;

/** Each exchange with its health, its rate use, as its collector reports it, and its figures of 24 hours. */
export function Exchanges() {
  const { overview: text } = useMessages();
  const { language } = useLanguage();
  const numbers = useNumbers();
  const report = useExchangeReport();
  const use = useExchangeUse();
  const whole = useExchangeCompleteness();
  const { exchanges: health } = useLive();
  if (report.error !== null) return <ErrorState error={report.error} onRetry={() => void report.refetch()} />;
  if (report.data === undefined || use.data === undefined) return <Skeleton height={110} radius="md" />;
  if (use.data.length === 0 && health.size === 0) return <p className={classes.nothing}>{text.noExchanges}</p>;
  const figures = new Map(report.data.map((each) => [each.exchange, each]));
  const uses = new Map(use.data.map((each) => [each.exchange, each]));
  const names = [...new Set([...figures.keys(), ...uses.keys(), ...health.keys()])].sort();
  return (
    <ul className={classes.exchanges}>
      {names.map((name) => {
        const own = figures.get(name);
        const percent = whole.data?.get(name) ?? null;
        return (
          <li key={name} className={classes.exchange}>
            <div className={classes.exchangeName}>
              <strong>{name}</strong>
              <Health health={health.get(name)} />
            </div>
            <RateUse use={uses.get(name)} />
            <dl>
              <Success use={uses.get(name)} />
              <dt>{text.whole}</dt>
              <dd>{percent === null ? "–" : numbers.percent(percent)}</dd>
              <dt>{text.candles24}</dt>
              <dd>{own === undefined ? "–" : numbers.whole(own.total_records)}</dd>
              <dt>{text.average}</dt>
              <dd>{own === undefined ? "–" : durationText(own.avg_duration, language)}</dd>
            </dl>
          </li>
        );
      })}
    </ul>
  );
}

/** The share of the rate limit that the scheduled runs use, as a bar and in words. */
function RateUse({ use }: { use: ExchangeUse | undefined }) {
  const { overview: text } = useMessages();
  const numbers = useNumbers();
  if (use === undefined) return null;
  const { weight_per_minute: used, limit_per_minute: limit, rate_share: share } = use;
  const high = share !== null && share > HIGH_SHARE;
  return (
    <div
      className={classes.rate}
      data-high={high || undefined}
      title={limit === null ? undefined : text.rateUseHint(numbers.compact(used), numbers.compact(limit))}
    >
      <span>{text.rateUse}</span>
      <span>{share === null ? text.rateUnknown : numbers.percent(100 * share)}</span>
      <svg width="100%" height="6" aria-hidden>
        <rect className={classes.track} width="100%" height="6" rx="3" />
        {share !== null && share > 0 && (
          <rect className={classes.used} width={`${Math.max(1, Math.min(100, 100 * share))}%`} height="6" rx="3" />
        )}
      </svg>
    </div>
  );
}

function Success({ use }: { use: ExchangeUse | undefined }) {
  const { overview: text } = useMessages();
  const numbers = useNumbers();
  const rate = use?.success_rate ?? null;
  return (
    <>
      <dt>{text.successRate}</dt>
      <dd
        data-low={(rate !== null && rate < GOOD_SUCCESS) || undefined}
        title={use && text.runs24(use.successful, use.failed)}
      >
        {rate === null ? "–" : numbers.percent(rate)}
      </dd>
    </>
  );
}

function Health({ health }: { health: ExchangeHealth | undefined }) {
  const { overview: text } = useMessages();
  const { style } = useTimeStyle();
  const now = useNow();
  if (health === undefined) return null;
  if (health.state === "ok") {
    return (
      <span className={classes.health} data-state="ok">
        <IconCircleCheck size={15} aria-hidden /> {text.exchangeOk}
      </span>
    );
  }
  const until =
    health.until !== null && Date.parse(health.until) > now
      ? text.exchangeUntil(absoluteTime(health.until, style))
      : null;
  return (
    <span className={classes.health} data-state="closed">
      <IconCircleX size={15} aria-hidden />{" "}
      {[health.error_class ?? health.state, until, health.reason].filter(Boolean).join(" · ")}
    </span>
  );
}
