import { Checkbox, Tooltip, UnstyledButton } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import { memo, useCallback, useEffect, useMemo, useState } from "react";
import { LoadingFoot } from "../components/TableParts";
import { useWindowRows } from "../components/windowRows";
import { useMessages } from "../i18n";
import { BulkActions } from "./BulkActions";
import { ConfigRow } from "./ConfigRow";
import classes from "./ConfigTable.module.css";
import { ConfirmAction } from "./ConfirmAction";
import type { Row } from "./figures";
import type { Action } from "./queries";
import type { ConfigsSearch, Sort } from "./search";

const ROW = 60;
const NARROW_ROW = 140;
const LOAD_AHEAD_ROWS = 20;

interface Props {
  rows: readonly Row[];
  hasMore: boolean;
  isLoadingMore: boolean;
  onMore: () => void;
  /** Called with the first and the last row on the screen. */
  onShown: (first: number, last: number) => void;
  search: ConfigsSearch;
  apply: (changes: { sort?: Sort | undefined; desc?: true | undefined }) => void;
  onEdit: (id: number) => void;
}

/** The configs as rows. A column title sorts; a second click reverses the order. */
export function ConfigTable({ rows, hasMore, isLoadingMore, onMore, onShown, search, apply, onEdit }: Props) {
  const { configs: text } = useMessages();
  const [asked, setAsked] = useState<{ action: Action; row: Row } | null>(null);
  const narrow = useMediaQuery("(max-width: 860px)") ?? false;
  const height = narrow ? NARROW_ROW : ROW;
  const { body, visible, totalHeight, last } = useWindowRows(
    rows.length,
    height,
    (index) => rows[index]?.config.id ?? index,
  );
  useEffect(() => {
    if (hasMore && !isLoadingMore && last >= rows.length - LOAD_AHEAD_ROWS) onMore();
  }, [hasMore, isLoadingMore, last, rows.length, onMore]);
  const first = visible[0]?.index ?? 0;
  useEffect(() => onShown(first, last), [onShown, first, last]);
  const [marked, setMarked] = useState<ReadonlySet<number>>(new Set());
  // Rows that a filter hides, or that were deleted meanwhile, are not selected.
  const selected = useMemo(() => rows.filter((row) => marked.has(row.config.id)), [rows, marked]);
  const mark = useCallback(
    (id: number) =>
      setMarked((before) => {
        const after = new Set(before);
        if (!after.delete(id)) after.add(id);
        return after;
      }),
    [],
  );
  const ask = useCallback((action: Action, row: Row) => setAsked({ action, row }), []);
  const all = selected.length === rows.length;
  const toggleAll = useCallback(
    () => setMarked(all ? new Set() : new Set(rows.map((row) => row.config.id))),
    [all, rows],
  );
  return (
    <>
      <div className={classes.frame}>
        <div role="table" aria-label={text.title} aria-rowcount={hasMore ? -1 : rows.length + 1}>
          <Head
            isPartial={hasMore}
            selected={all ? "all" : selected.length > 0 ? "some" : "none"}
            onToggle={toggleAll}
            search={search}
            apply={apply}
          />
          <div role="rowgroup" ref={body} className={classes.body} style={{ height: totalHeight }}>
            {visible.map(({ key, index, offset }) => {
              const row = rows[index];
              if (row === undefined) return null;
              return (
                <ConfigRow
                  key={key}
                  row={row}
                  index={index}
                  offset={offset}
                  height={height}
                  selected={marked.has(row.config.id)}
                  onSelect={mark}
                  onEdit={onEdit}
                  onAsk={ask}
                />
              );
            })}
          </div>
        </div>
        {isLoadingMore && <LoadingFoot />}
        <ConfirmAction asked={asked} onClose={() => setAsked(null)} />
      </div>
      <BulkActions selected={selected} onClear={() => setMarked(new Set())} />
    </>
  );
}

interface HeadProps extends Pick<Props, "search" | "apply"> {
  /** The API has more rows than are loaded. */
  isPartial: boolean;
  selected: "all" | "some" | "none";
  onToggle: () => void;
}

/** It does not render again while the list scrolls. */
const Head = memo(function Head({ isPartial, selected, onToggle, search, apply }: HeadProps) {
  const { configs: text, bulk } = useMessages();
  const title = (label: string, sort?: Sort, hint?: string) => (
    <Title label={label} sort={sort} hint={hint} search={search} apply={apply} />
  );
  return (
    <div role="rowgroup" className={classes.head}>
      <div role="row" aria-rowindex={1} className={classes.columns}>
        <div role="columnheader">
          <Checkbox
            size="xs"
            aria-label={isPartial ? bulk.selectAllLoaded : bulk.selectAll}
            checked={selected === "all"}
            indeterminate={selected === "some"}
            onChange={onToggle}
          />
        </div>
        {title(text.symbol, "symbol")}
        {title(text.timeframes)}
        {title(text.lastRuns)}
        {title(text.successRate, "success")}
        {title(text.p95, "duration", text.p95Hint)}
        {title(text.records, undefined, text.recordsHint)}
        {title(text.whole, "whole", text.wholeHint)}
        {title(text.nextRun, "next")}
        <div role="columnheader">
          <span className="visually-hidden">{text.actions}</span>
        </div>
      </div>
    </div>
  );
});

interface TitleProps {
  label: string;
  sort: Sort | undefined;
  hint: string | undefined;
  search: ConfigsSearch;
  apply: Props["apply"];
}

function Title({ label, sort, hint, search, apply }: TitleProps) {
  const isSorted = sort !== undefined && (search.sort ?? "symbol") === sort;
  const Arrow = search.desc ? IconArrowDown : IconArrowUp;
  const content =
    sort === undefined ? (
      <span>{label}</span>
    ) : (
      <UnstyledButton
        className={classes.sort}
        onClick={() => apply({ sort, desc: isSorted && !search.desc ? true : undefined })}
      >
        {label}
        {isSorted && <Arrow size={13} aria-hidden />}
      </UnstyledButton>
    );
  return (
    <div role="columnheader" aria-sort={isSorted ? (search.desc ? "descending" : "ascending") : undefined}>
      <Tooltip label={hint} disabled={hint === undefined} multiline w={220}>
        {content}
      </Tooltip>
    </div>
  );
}
