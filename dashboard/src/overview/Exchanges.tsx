import { Skeleton } from "@mantine/core";
import { IconCircleCheck, IconCircleX } from "@tabler/icons-react";
import { absoluteTime, durationText, useNow, useTimeStyle } from "../app/time";
import { ErrorState } from "../components/states";
import { useExchangeReport } from "../exchanges/queries";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import type { ExchangeHealth } from "../live/events";
import { useLive } from "../live/LiveProvider";
import classes from "./OverviewPage.module.css";
import { useExchangeCompleteness } from "./queries";

/** Each exchange with its health, as its collector reports it, and its figures of 24 hours. */
export function Exchanges() {
  const { overview: text } = useMessages();
  const { language } = useLanguage();
  const numbers = useNumbers();
  const report = useExchangeReport();
  const whole = useExchangeCompleteness();
  const { exchanges: health } = useLive();
  if (report.error !== null) return <ErrorState error={report.error} onRetry={() => void report.refetch()} />;
  if (report.data === undefined) return <Skeleton height={110} radius="md" />;
  if (report.data.length === 0 && health.size === 0) return <p className={classes.nothing}>{text.noExchanges}</p>;
  const figures = new Map(report.data.map((each) => [each.exchange, each]));
  const names = [...new Set([...figures.keys(), ...health.keys()])].sort();
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
            <dl>
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
