import { useMediaQuery } from "@mantine/hooks";
import { Link } from "@tanstack/react-router";
import { memo, useEffect } from "react";
import type { Run } from "../api/client";
import { durationText, Time, useNow } from "../app/time";
import { StatusMark } from "../components/StatusMark";
import { LoadingFoot, Placeholders, TableFoot } from "../components/TableParts";
import { useWindowRows } from "../components/windowRows";
import { useLanguage, useNumbers } from "../i18n";
import classes from "./RunTable.module.css";

const ROW = 44;
const NARROW_ROW = 84;
const LOAD_AHEAD_ROWS = 20;
const SKELETON_ROWS = 12;

interface Props {
  runs: readonly Run[];
  isLoading?: boolean;
  hasMore?: boolean;
  isLoadingMore?: boolean;
  onMore?: () => void;
  /** The name of the table; without it, that of all runs. */
  label?: string;
}

/** Runs as rows. Only the rows on the screen exist in the page, so any number of runs scrolls smoothly. */
export function RunTable({ runs, isLoading = false, hasMore = false, isLoadingMore = false, onMore, label }: Props) {
  const { messages } = useLanguage();
  const { runs: text } = messages;
  const narrow = useMediaQuery("(max-width: 760px)") ?? false;
  const height = narrow ? NARROW_ROW : ROW;
  const { body, visible, totalHeight, last } = useWindowRows(runs.length, height, (index) => runs[index]?.id ?? index);
  useEffect(() => {
    if (hasMore && !isLoadingMore && last >= runs.length - LOAD_AHEAD_ROWS) onMore?.();
  }, [hasMore, isLoadingMore, last, runs.length, onMore]);

  return (
    <div className={classes.frame}>
      <div
        role="table"
        aria-label={label ?? text.title}
        aria-rowcount={hasMore ? -1 : runs.length + 1}
        aria-busy={isLoading}
      >
        <div role="rowgroup" className={classes.head}>
          <div role="row" className={classes.columns} aria-rowindex={1}>
            {[text.result, text.symbol, text.exchange, text.started, text.duration, text.candles, text.reason].map(
              (title) => (
                <div role="columnheader" key={title}>
                  {title}
                </div>
              ),
            )}
          </div>
        </div>
        <div
          role="rowgroup"
          ref={body}
          className={classes.body}
          style={{ height: isLoading ? undefined : totalHeight }}
        >
          {isLoading && <Placeholders count={SKELETON_ROWS} />}
          {visible.map((row) => {
            const run = runs[row.index];
            if (run === undefined) return null;
            return <RunRow key={row.key} run={run} index={row.index} offset={row.offset} height={height} />;
          })}
        </div>
      </div>
      {isLoadingMore && <LoadingFoot label={text.loadingMore} />}
      {!isLoading && !hasMore && onMore !== undefined && <TableFoot>{text.end}</TableFoot>}
    </div>
  );
}

interface RowProps {
  run: Run;
  index: number;
  offset: number;
  height: number;
}

/** Renders again only if its run has changed: scrolling renders only the rows that come into view. */
const RunRow = memo(function RunRow({ run, index, offset, height }: RowProps) {
  const { messages } = useLanguage();
  const numbers = useNumbers();
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      className={`${classes.columns} ${classes.row}`}
      style={{ height, transform: `translateY(${offset}px)` }}
    >
      <div role="cell" className={classes.status}>
        <StatusMark status={run.status} />
      </div>
      <div role="cell" className={classes.symbol}>
        <Link to="/runs/$logId" params={{ logId: String(run.id) }} className={classes.link} data-row-link>
          {run.symbol}
        </Link>
      </div>
      <div role="cell" className={classes.exchange}>
        {run.exchange}
      </div>
      <div role="cell" className={classes.started}>
        <Time value={run.started_at} />
      </div>
      <div role="cell" className={classes.number}>
        <RunDuration run={run} />
      </div>
      <div
        role="cell"
        className={`${classes.number} ${classes.candles}`}
        data-unit={messages.runs.candles.toLowerCase()}
      >
        {numbers.whole(run.records_collected)}
      </div>
      <div role="cell" className={classes.reason} title={run.error_message ?? undefined}>
        {run.error_message ?? messages.trigger[run.trigger] ?? run.trigger}
      </div>
    </div>
  );
});

/** The duration of a run; while it runs, the time since its start. */
export function RunDuration({ run }: { run: Run }) {
  const { language } = useLanguage();
  if (run.duration_seconds !== null) return durationText(run.duration_seconds, language);
  if (run.status !== "running") return "–";
  return <Growing since={Date.parse(run.started_at)} language={language} />;
}

function Growing({ since, language }: { since: number; language: string }) {
  const now = useNow();
  return <span>{durationText(Math.max(0, Math.floor((now - since) / 1000)), language)}</span>;
}
