import { Button, SegmentedControl, Skeleton } from "@mantine/core";
import { IconArrowLeft } from "@tabler/icons-react";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useMemo, useRef } from "react";
import { Fact, Facts } from "../components/Facts";
import { PageHeader } from "../components/PageHeader";
import { EmptyState, ErrorState } from "../components/states";
import { useMessages, useNumbers } from "../i18n";
import { Calendar } from "./Calendar";
import { ClassMark } from "./ClassMark";
import { Holes } from "./Holes";
import { type StoredSeries, useChart, useDays, useHoles, useMarket } from "./queries";
import { Rejected } from "./Rejected";
import classes from "./SeriesPage.module.css";
import { type ChartSearch, iso, nameOf, paramsOf, pathOf, type SeriesName, TIMEFRAMES } from "./search";
import { timeText } from "./times";
import { nominalLength, type Window, windowFor } from "./windows";

const PointTable = lazy(() => import("./PointTable").then(({ PointTable }) => ({ default: PointTable })));
const CandleChart = lazy(() => import("./CandleChart").then(({ CandleChart }) => ({ default: CandleChart })));

const FIRST_PERIODS = 240;
const DAY_MS = 86_400_000;

/** One series: its candles, the time without candles and why, and its completeness by day. */
export function SeriesPage() {
  const { exchange, _splat = "" } = useParams({ from: "/series/$exchange/$" });
  const name = useMemo(() => nameOf(exchange, _splat), [exchange, _splat]);
  const market = useMarket(name);
  const { series: text } = useMessages();
  const stored = market.data?.stored.find((each) => each.timeframe === name.timeframe);
  return (
    <>
      <div className={classes.back}>
        <Button
          component={Link}
          to="/series"
          variant="subtle"
          size="compact-sm"
          leftSection={<IconArrowLeft size={15} aria-hidden />}
        >
          {text.all}
        </Button>
      </div>
      <PageHeader title={`${name.symbol} · ${name.exchange}`} note={name.timeframe}>
        <Timeframes name={name} stored={market.data?.stored ?? []} />
      </PageHeader>
      {market.error !== null ? (
        <ErrorState error={market.error} onRetry={() => void market.refetch()} />
      ) : market.data === undefined ? (
        <Skeleton height={480} radius="md" />
      ) : market.data.completeness.length === 0 ? (
        <EmptyState title={text.notFound} hint={text.notFoundHint} />
      ) : (
        <>
          <SeriesFacts
            stored={stored}
            completeness={market.data.completeness.find((each) => each.timeframe === name.timeframe)}
          />
          {stored === undefined ? (
            <EmptyState title={text.noCandles} hint={text.noCandlesHint} />
          ) : (
            <Charts key={pathOf(name)} name={name} stored={stored} />
          )}
          <h2 className={classes.heading}>{text.rejected}</h2>
          <Rejected name={name} />
        </>
      )}
    </>
  );
}

/** The other timeframes of the market. */
function Timeframes({ name, stored }: { name: SeriesName; stored: readonly StoredSeries[] }) {
  const { series: text } = useMessages();
  const order = (timeframe: string) => TIMEFRAMES.indexOf(timeframe) + 1 || TIMEFRAMES.length + 1;
  const others = stored.map((each) => each.timeframe).sort((one, other) => order(one) - order(other));
  return (
    <nav className={classes.timeframes} aria-label={text.timeframe}>
      {others.map((timeframe) => (
        <Link
          key={timeframe}
          to="/series/$exchange/$"
          params={paramsOf({ ...name, timeframe })}
          className={classes.timeframe}
          aria-current={timeframe === name.timeframe ? "page" : undefined}
        >
          {timeframe}
        </Link>
      ))}
    </nav>
  );
}

type CompletenessRow = { whole_percent: number | null; answered_percent: number | null };

function SeriesFacts({
  stored,
  completeness,
}: {
  stored: StoredSeries | undefined;
  completeness: CompletenessRow | undefined;
}) {
  const { series: text } = useMessages();
  const numbers = useNumbers();
  const percent = (value: number | null | undefined) => (typeof value === "number" ? numbers.percent(value) : "–");
  const time = (value: string | null | undefined) => (typeof value === "string" ? timeText(Date.parse(value)) : "–");
  return (
    <Facts leastWidth={150} className={classes.facts}>
      <Fact label={text.whole}>{percent(completeness?.whole_percent)}</Fact>
      <Fact label={text.answered}>{percent(completeness?.answered_percent)}</Fact>
      <Fact label={text.candles}>{numbers.whole(stored?.candles ?? 0)}</Fact>
      <Fact label={text.openHoles}>{numbers.whole(stored?.open_holes ?? 0)}</Fact>
      <Fact label={text.firstCandle}>{time(stored?.first_open_time)}</Fact>
      <Fact label={text.lastCandle}>{time(stored?.last_open_time)}</Fact>
    </Facts>
  );
}

const PRESETS = [
  ["1d", 1],
  ["1w", 7],
  ["1M", 30],
  ["1y", 365],
] as const;

function Charts({ name, stored }: { name: SeriesName; stored: StoredSeries }) {
  const { series: text } = useMessages();
  const search = useSearch({ from: "/series/$exchange/$" });
  const navigate = useNavigate({ from: "/series/$exchange/$" });
  const period = nominalLength(name.timeframe);
  const last = Date.parse(stored.last_open_time) + period;
  const first = Date.parse(stored.first_open_time);
  // The range without a choice of the person stays where it was when the page was opened.
  const opened = useRef({ from: Math.max(first, last - FIRST_PERIODS * period), to: last }).current;
  const visible = useMemo(
    () => (search.from && search.to ? { from: Date.parse(search.from), to: Date.parse(search.to) } : opened),
    [search.from, search.to, opened],
  );
  const apply = useCallback(
    (changes: ChartSearch) =>
      void navigate({ search: (before) => ({ ...before, ...changes }), replace: true, resetScroll: false }),
    [navigate],
  );
  const show = useCallback(
    ({ from, to }: Window) => apply({ from: iso(from), to: iso(Math.max(to, from + 2 * period)) }),
    [apply, period],
  );
  const showWithMargin = useCallback(
    ({ from, to }: Window) => {
      const margin = Math.max(30 * period, (to - from) / 2);
      show({ from: from - margin, to: to + margin });
      window.scrollTo({ top: 0, behavior: "smooth" });
    },
    [show, period],
  );
  const showDay = useCallback(
    (day: string) => showWithMargin({ from: Date.parse(day), to: Date.parse(day) + DAY_MS }),
    [showWithMargin],
  );
  const data = useWindow(name, visible, { from: first, to: last });
  const all = useHoles(name, null);
  const days = useDays(name);
  const view = search.view ?? "chart";
  return (
    <>
      <section className={classes.card} aria-label={text.chart}>
        <div className={classes.bar}>
          <div className={classes.presets}>
            {PRESETS.map(([label, count]) => (
              <Button
                key={label}
                size="compact-sm"
                variant="default"
                onClick={() => show({ from: Math.max(first, last - count * DAY_MS), to: last })}
              >
                {text.presets[label]}
              </Button>
            ))}
            <Button size="compact-sm" variant="default" onClick={() => show({ from: first, to: last })}>
              {text.presets.all}
            </Button>
            {data.chart.data !== undefined && (
              <span className={classes.resolution} aria-live="polite">
                {text.resolution(name.timeframe, data.chart.data.periods)}
              </span>
            )}
          </div>
          <SegmentedControl
            size="xs"
            aria-label={text.view}
            value={view}
            onChange={(value) => apply({ view: value === "table" ? "table" : undefined } as ChartSearch)}
            data={[
              { value: "chart", label: text.chart },
              { value: "table", label: text.asTable },
            ]}
          />
        </div>
        {data.chart.error !== null ? (
          <ErrorState error={data.chart.error} onRetry={() => void data.chart.refetch()} />
        ) : data.chart.data === undefined ? (
          <Skeleton height={420} />
        ) : view === "table" ? (
          <Suspense fallback={<Skeleton height={420} />}>
            <PointTable points={data.chart.data.points} visible={visible} />
          </Suspense>
        ) : (
          <Suspense fallback={<Skeleton height={420} />}>
            <CandleChart
              chart={data.chart.data}
              spans={data.holes.data?.spans ?? []}
              visible={visible}
              onVisible={show}
              label={text.chartLabel(`${name.symbol} ${name.timeframe}`, timeText(visible.from), timeText(visible.to))}
            />
          </Suspense>
        )}
        <div className={classes.key}>
          {["unknown", "beyond_horizon", "no_trade"].map((each) => (
            <ClassMark key={each} absenceClass={each} />
          ))}
          <span>{text.keyHint}</span>
        </div>
      </section>
      <h2 className={classes.heading}>{text.holes}</h2>
      {all.error !== null ? (
        <ErrorState error={all.error} onRetry={() => void all.refetch()} />
      ) : all.data === undefined ? (
        <Skeleton height={120} radius="md" />
      ) : (
        <Holes name={name} spans={all.data.spans} truncated={all.data.coverage.truncated} onShow={showWithMargin} />
      )}
      <h2 className={classes.heading}>{text.calendar}</h2>
      <section className={classes.padded}>
        {days.error !== null ? (
          <ErrorState error={days.error} onRetry={() => void days.refetch()} />
        ) : days.data === undefined ? (
          <Skeleton height={150} />
        ) : (
          <Calendar start={days.data.start} days={days.data.days} onDay={showDay} />
        )}
      </section>
    </>
  );
}

/** The chart and the holes of a range around the visible one. They are read again only if the visible one leaves it. */
function useWindow(name: SeriesName, visible: Window, extent: Window) {
  const loaded = useRef<Window | null>(null);
  const before = useRef<ReturnType<typeof useChart>["data"]>(undefined);
  const window = windowFor(visible, loaded.current, before.current, extent);
  const chart = useChart(name, window);
  const holes = useHoles(name, window);
  if (!chart.isPlaceholderData && chart.data !== undefined) {
    loaded.current = window;
    before.current = chart.data;
  }
  return { chart, holes };
}
