import { Skeleton, Text } from "@mantine/core";
import { Time } from "../app/time";
import { ErrorState } from "../components/states";
import { useMessages, useNumbers } from "../i18n";
import classes from "./OverviewPage.module.css";
import { useTotalCompleteness } from "./queries";

/** How complete all data is: the two numbers of `/completeness`, never rounded up. */
export function Headline() {
  const { overview: text } = useMessages();
  const numbers = useNumbers();
  const total = useTotalCompleteness();
  if (total.error !== null) return <ErrorState error={total.error} onRetry={() => void total.refetch()} />;
  if (total.data === undefined) return <Skeleton height={186} radius="md" />;
  const {
    whole_percent: whole,
    answered_percent: answered,
    series,
    verified_periods,
    closed_periods,
    end,
  } = total.data;
  if (whole === null || answered === null) {
    return (
      <section className={classes.headline}>
        <Text c="dimmed">{text.noSeries}</Text>
      </section>
    );
  }
  return (
    <section className={classes.headline}>
      <div className={classes.numbers}>
        <Percentage value={numbers.percent(whole)} word={text.whole} hint={text.wholeHint} full={whole === 100} />
        <Percentage
          value={numbers.percent(answered)}
          word={text.answered}
          hint={text.answeredHint}
          full={answered === 100}
        />
      </div>
      <svg className={classes.meter} width="100%" height="8" aria-hidden>
        <rect className={classes.track} width="100%" height="8" rx="4" />
        <rect className={classes.answeredBar} width={`${answered}%`} height="8" rx="4" />
        <rect className={classes.wholeBar} width={`${whole}%`} height="8" rx="4" />
      </svg>
      <Text size="sm" c="dimmed">
        {text.series(series)} · {text.periods(verified_periods, closed_periods)}
        {end !== null && (
          <>
            {" · "}
            <Time value={end} />
          </>
        )}
      </Text>
    </section>
  );
}

function Percentage({ value, word, hint, full }: { value: string; word: string; hint: string; full: boolean }) {
  return (
    <div>
      <div className={classes.number} data-full={full || undefined}>
        {value} <span>{word}</span>
      </div>
      <Text size="xs" c="dimmed">
        {hint}
      </Text>
    </div>
  );
}
