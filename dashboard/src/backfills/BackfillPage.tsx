import { Button, SegmentedControl, Skeleton } from "@mantine/core";
import { IconArrowLeft } from "@tabler/icons-react";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { isProblem } from "../api/problem";
import { spanText, Time, useNow } from "../app/time";
import { PageHeader } from "../components/PageHeader";
import { EmptyState, ErrorState } from "../components/states";
import { useMessages, useNumbers } from "../i18n";
import { BackfillActions } from "./BackfillActions";
import classes from "./Backfills.module.css";
import { EstimateBox } from "./DryRunResult";
import { BackfillMark, ProgressBar } from "./marks";
import { ChunkTable, SeriesTable } from "./PartTables";
import { type BackfillDetails, useBackfill, useFreshParts } from "./queries";
import { RangeText, useSelectionText } from "./selection";

const NOT_FOUND = 404;

/** One backfill: its progress as it happens, its series, and its chunks with their reasons. */
export function BackfillPage() {
  const { backfillId } = useParams({ from: "/backfills/$backfillId" });
  const backfill = useBackfill(Number(backfillId));
  const { backfills: text } = useMessages();
  return (
    <>
      <div className={classes.back}>
        <Button
          component={Link}
          to="/backfills"
          variant="subtle"
          size="compact-sm"
          leftSection={<IconArrowLeft size={15} aria-hidden />}
        >
          {text.back}
        </Button>
      </div>
      {isProblem(backfill.error, NOT_FOUND) ? (
        <EmptyState title={text.notFound} hint={text.notFoundHint} />
      ) : backfill.error !== null ? (
        <ErrorState error={backfill.error} onRetry={() => void backfill.refetch()} />
      ) : backfill.data === undefined ? (
        <Skeleton height={320} radius="md" />
      ) : (
        <Details backfill={backfill.data} />
      )}
    </>
  );
}

function Details({ backfill }: { backfill: BackfillDetails }) {
  const { backfills: text } = useMessages();
  const selection = useSelectionText();
  const { progress, remaining } = backfill;
  useFreshParts(backfill);
  return (
    <>
      <PageHeader
        title={selection(backfill)}
        note={<BackfillMark state={backfill.state} isWhole={progress.is_whole} soft />}
      >
        <BackfillActions backfill={backfill} isWhole={progress.is_whole} />
      </PageHeader>
      <ProgressCard backfill={backfill} />
      {progress.reasons.length > 0 && (
        <section className={classes.card} aria-label={text.reasons}>
          <h2 className={classes.heading} style={{ marginTop: 0 }}>
            {text.reasons}
          </h2>
          <ul className={classes.reasons}>
            {progress.reasons.map((each) => (
              <li key={`${each.state} ${each.error_class ?? ""}`}>
                <span className={classes.note}>{text.chunkCount(each.chunks)}</span>
                <p>
                  {each.error_class !== null && <code>{each.error_class}: </code>}
                  {each.reason}
                </p>
              </li>
            ))}
          </ul>
        </section>
      )}
      {!progress.is_whole && backfill.state !== "cancelled" && (
        <EstimateBox title={text.remaining} estimate={remaining} wide />
      )}
      <Parts backfill={backfill} />
    </>
  );
}

function ProgressCard({ backfill }: { backfill: BackfillDetails }) {
  const { backfills: text } = useMessages();
  const numbers = useNumbers();
  const { progress } = backfill;
  const answered = progress.candles - progress.missing_candles;
  const shown = progress.percent === null ? "–" : numbers.percent(progress.percent);
  return (
    <section className={classes.card} aria-label={text.progress}>
      <div className={classes.headline}>
        <span className={classes.big}>{shown}</span>
        <span className={classes.note}>{text.answeredOf(answered, progress.candles)}</span>
      </div>
      <ProgressBar percent={progress.percent} label={text.progress} shown="" />
      <dl className={classes.facts}>
        <Fact label={text.rate}>
          {progress.candles_per_second === null
            ? text.noRate
            : text.perMinute(numbers.compact(progress.candles_per_second * 60))}
        </Fact>
        <Fact label={text.eta}>
          <Eta backfill={backfill} />
        </Fact>
        <Fact label={text.reached}>{progress.reached === null ? "–" : <Time value={progress.reached} />}</Fact>
        <Fact label={text.range}>
          <RangeText start={backfill.start} end={backfill.end} />
        </Fact>
        <Fact label={text.mode}>
          {text.modes[backfill.mode]}
          {backfill.source === "trades" && ` · ${text.sources.trades}`}
        </Fact>
        <Fact label={text.createdBy}>
          {backfill.created_by} · <Time value={backfill.created_at} />
        </Fact>
        {progress.next_attempt_at !== null && (
          <Fact label={text.nextAttempt}>
            <Time value={progress.next_attempt_at} />
          </Fact>
        )}
        {backfill.description !== null && <Fact label={text.description}>{backfill.description}</Fact>}
      </dl>
    </section>
  );
}

/** The time until the end as a countdown, with the time itself. */
function Eta({ backfill }: { backfill: BackfillDetails }) {
  const { backfills: text } = useMessages();
  const now = useNow();
  const { progress } = backfill;
  if (progress.is_whole) return text.nothingLeft;
  if (backfill.state !== "active") return text.states[backfill.state];
  if (progress.eta === null) return text.noEta;
  return (
    <>
      {spanText(Date.parse(progress.eta) - now)} · <Time value={progress.eta} />
    </>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** The series or the chunks, as the address says. */
function Parts({ backfill }: { backfill: BackfillDetails }) {
  const search = useSearch({ from: "/backfills/$backfillId" });
  const navigate = useNavigate({ from: "/backfills/$backfillId" });
  const { backfills: text } = useMessages();
  const numbers = useNumbers();
  const chunks = Object.values(backfill.progress.chunks).reduce((sum, each) => sum + each, 0);
  return (
    <>
      <div className={classes.parts}>
        <SegmentedControl
          aria-label={text.parts}
          value={search.part ?? "series"}
          onChange={(value) =>
            void navigate({ search: value === "chunks" ? { part: "chunks" } : {}, replace: true, resetScroll: false })
          }
          data={[
            { value: "series", label: `${text.series} (${numbers.whole(backfill.series)})` },
            { value: "chunks", label: `${text.chunks} (${numbers.whole(chunks)})` },
          ]}
        />
      </div>
      {search.part === "chunks" ? (
        <ChunkTable id={backfill.id} counts={backfill.progress.chunks} state={search.chunks} />
      ) : (
        <SeriesTable id={backfill.id} />
      )}
    </>
  );
}
