import { Alert, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { UseQueryResult } from "@tanstack/react-query";
import { isProblem } from "../api/problem";
import { absoluteTime, spanText, useTimeStyle } from "../app/time";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import classes from "./Backfills.module.css";
import type { DryRun, Estimate } from "./queries";

/** What the backfill would cost, and which candles nobody can get any more. */
export function DryRunResult({ dryRun }: { dryRun: UseQueryResult<DryRun> }) {
  const { backfills: text } = useMessages();
  if (dryRun.fetchStatus === "idle" && dryRun.data === undefined && dryRun.error === null) return null;
  if (dryRun.isPending) {
    return (
      <Text size="sm" c="dimmed" role="status">
        {`${text.estimating} …`}
      </Text>
    );
  }
  if (dryRun.error !== null) {
    return (
      <Alert color="red" variant="outline" icon={<IconAlertTriangle aria-hidden />} role="status">
        {isProblem(dryRun.error) ? dryRun.error.detail : String(dryRun.error)}
      </Alert>
    );
  }
  return <EstimateBox title={text.estimate} estimate={dryRun.data.estimate} />;
}

const KIB = 1024;

/** `1.4 GiB` and the like. */
function bytesText(bytes: number, language: string): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log(bytes) / Math.log(KIB)));
  const text = new Intl.NumberFormat(language, { maximumFractionDigits: power === 0 ? 0 : 1 });
  return `${text.format(bytes / KIB ** power)} ${units[power]}`;
}

export function EstimateBox({ title, estimate, wide = false }: { title: string; estimate: Estimate; wide?: boolean }) {
  const { backfills: text } = useMessages();
  const { language } = useLanguage();
  const numbers = useNumbers();
  const duration = estimate.duration_seconds;
  const trades = estimate.exchanges.flatMap(({ exchange, from_trades }) =>
    from_trades === null || from_trades === undefined ? [] : [{ exchange, ...from_trades }],
  );
  const facts = [
    [text.series, numbers.whole(estimate.series)],
    [text.candles, numbers.whole(estimate.candles)],
    [text.requests, numbers.whole(estimate.requests)],
    [text.duration, duration === null ? text.unknown : spanText(Math.ceil(duration) * 1000)],
    [text.disk, bytesText(estimate.disk_bytes, language)],
  ] as const;
  return (
    <section className={classes.estimate} data-wide={wide || undefined} aria-label={title} aria-live="polite">
      <h3>{title}</h3>
      <dl>
        {facts.map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {estimate.exchanges.length > 1 && (
        <ul>
          {estimate.exchanges.map((each) => (
            <li key={each.exchange}>
              {text.perExchange(
                each.exchange,
                each.requests,
                each.duration_seconds === null ? text.unknown : spanText(Math.ceil(each.duration_seconds) * 1000),
              )}
            </li>
          ))}
        </ul>
      )}
      {trades.map((each) => (
        <p key={each.exchange}>
          {text.tradesOf(each.exchange, each.candles, each.requests)} {each.basis}
        </p>
      ))}
      {estimate.is_upper_bound && <p>{text.upperBound}</p>}
      <Never estimate={estimate} />
    </section>
  );
}

function Never({ estimate }: { estimate: Estimate }) {
  const { backfills: text } = useMessages();
  const { style } = useTimeStyle();
  if (estimate.never_available.length === 0) return null;
  const shown = (instant: string) => absoluteTime(instant, style).slice(0, 16);
  return (
    <div className={classes.never}>
      <strong>{text.never}</strong>
      <ul>
        {estimate.never_available.map((each) => (
          <li key={`${each.exchange} ${each.timeframe} ${each.absence_class} ${each.reason}`}>
            {text.neverOf(`${each.exchange} ${each.timeframe}`, each.candles, shown(each.start), shown(each.end))}{" "}
            {each.reason}
          </li>
        ))}
      </ul>
    </div>
  );
}
