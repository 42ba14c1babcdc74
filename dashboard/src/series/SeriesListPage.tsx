import { Button, Group, NativeSelect, Skeleton, TextInput } from "@mantine/core";
import { useDebouncedCallback, useMediaQuery } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { isProblem } from "../api/problem";
import { PageHeader } from "../components/PageHeader";
import { EmptyState, ErrorState } from "../components/states";
import { useWindowRows } from "../components/windowRows";
import { useExchangeNames } from "../exchanges/queries";
import { useMessages, useNumbers } from "../i18n";
import { Percent } from "./Percent";
import { type SeriesRow, useSeriesList } from "./queries";
import classes from "./SeriesListPage.module.css";
import { paramsOf, pathOf, type SeriesSearch, TIMEFRAMES } from "./search";
import { timeText } from "./times";

const ROW = 46;
const NARROW_ROW = 88;
const LOAD_AHEAD_ROWS = 60;
const TYPING_MS = 350;
const NOT_FOUND = 404;

/** The list of series with their completeness. Its filters are in the address. */
export function SeriesListPage() {
  const search = useSearch({ from: "/series" });
  const navigate = useNavigate({ from: "/series" });
  const { series: text, runs } = useMessages();
  const list = useSeriesList(search);
  const setSearch = (next: SeriesSearch) => void navigate({ search: next, replace: true });
  const isFiltered = Object.keys(search).length > 0;
  const nothing = isProblem(list.error, NOT_FOUND) || (list.isSuccess && list.rows.length === 0);
  return (
    <>
      <PageHeader title={text.title} note={list.isSuccess && text.total(list.rows.length, list.hasNextPage)} />
      <Filters search={search} onChange={setSearch} />
      {nothing ? (
        <EmptyState
          title={isFiltered ? text.empty : text.none}
          hint={isFiltered ? text.emptyHint : text.noneHint}
          action={
            isFiltered && (
              <Button variant="default" onClick={() => setSearch({})}>
                {runs.clear}
              </Button>
            )
          }
        />
      ) : list.error !== null ? (
        <ErrorState error={list.error} onRetry={() => void list.refetch()} />
      ) : list.isPending ? (
        <Skeleton height={360} radius="md" />
      ) : (
        <SeriesTable
          rows={list.rows}
          hasMore={list.hasNextPage}
          isLoadingMore={list.isFetchingNextPage}
          onMore={() => void list.fetchNextPage()}
        />
      )}
    </>
  );
}

function Filters({ search, onChange }: { search: SeriesSearch; onChange: (search: SeriesSearch) => void }) {
  const { series: text, runs } = useMessages();
  const exchanges = useExchangeNames();
  const [symbol, setSymbol] = useState(search.symbol ?? "");
  useEffect(() => setSymbol(search.symbol ?? ""), [search.symbol]);
  const apply = (changes: { [Name in keyof SeriesSearch]?: string | undefined }) =>
    onChange(Object.fromEntries(Object.entries({ ...search, ...changes }).filter(([, value]) => value)));
  const applySymbol = useDebouncedCallback((value: string) => apply({ symbol: value.trim().toUpperCase() }), TYPING_MS);
  return (
    <Group gap="xs" mb="md" align="flex-end">
      <TextInput
        label={text.symbol}
        size="xs"
        w={190}
        placeholder="BTC/USDT"
        data-search
        leftSection={<IconSearch size={14} aria-hidden />}
        value={symbol}
        onChange={(event) => {
          setSymbol(event.currentTarget.value);
          applySymbol(event.currentTarget.value);
        }}
      />
      <NativeSelect
        label={text.exchange}
        size="xs"
        value={search.exchange ?? ""}
        onChange={(event) => apply({ exchange: event.currentTarget.value })}
        data={[
          { value: "", label: runs.anyExchange },
          ...new Set([...exchanges, ...(search.exchange ? [search.exchange] : [])]),
        ]}
      />
      <NativeSelect
        label={text.timeframe}
        size="xs"
        value={search.timeframe ?? ""}
        onChange={(event) => apply({ timeframe: event.currentTarget.value })}
        data={[{ value: "", label: text.anyTimeframe }, ...TIMEFRAMES]}
      />
      {Object.keys(search).length > 0 && (
        <Button size="xs" variant="subtle" onClick={() => onChange({})}>
          {runs.clear}
        </Button>
      )}
    </Group>
  );
}

interface TableProps {
  rows: readonly SeriesRow[];
  hasMore: boolean;
  isLoadingMore: boolean;
  onMore: () => void;
}

/** Series as rows. Only those on the screen exist in the page. */
function SeriesTable({ rows, hasMore, isLoadingMore, onMore }: TableProps) {
  const { series: text } = useMessages();
  const narrow = useMediaQuery("(max-width: 860px)") ?? false;
  const height = narrow ? NARROW_ROW : ROW;
  const { body, visible, totalHeight, last } = useWindowRows(rows.length, height, (index) => {
    const row = rows[index];
    return row === undefined ? index : pathOf(row);
  });
  useEffect(() => {
    if (hasMore && !isLoadingMore && last >= rows.length - LOAD_AHEAD_ROWS) onMore();
  }, [hasMore, isLoadingMore, last, rows.length, onMore]);
  const titles = [text.symbol, text.exchange, text.timeframe, text.whole, text.answered, text.openHoles, text.candles];
  return (
    <div className={classes.frame}>
      <div role="table" aria-label={text.title} aria-rowcount={hasMore ? -1 : rows.length + 1}>
        <div role="rowgroup" className={classes.head}>
          <div role="row" aria-rowindex={1} className={classes.columns}>
            {[...titles, text.lastCandle].map((title) => (
              <div role="columnheader" key={title}>
                {title}
              </div>
            ))}
          </div>
        </div>
        <div role="rowgroup" ref={body} className={classes.body} style={{ height: totalHeight }}>
          {visible.map(({ key, index, offset }) => {
            const row = rows[index];
            if (row === undefined) return null;
            return (
              <div
                key={key}
                role="row"
                aria-rowindex={index + 2}
                className={`${classes.columns} ${classes.row}`}
                style={{ height, transform: `translateY(${offset}px)` }}
              >
                <Cells row={row} />
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

function Cells({ row }: { row: SeriesRow }) {
  const { series: text } = useMessages();
  const numbers = useNumbers();
  const { completeness, stored } = row;
  const holes = stored?.open_holes ?? 0;
  return (
    <>
      <div role="cell" className={classes.symbol}>
        <Link to="/series/$exchange/$" params={paramsOf(row)} className={classes.link}>
          {row.symbol}
        </Link>
      </div>
      <div role="cell" className={classes.exchange}>
        {row.exchange}
      </div>
      <div role="cell" className={classes.timeframe}>
        {row.timeframe}
      </div>
      <div role="cell" className={classes.whole} data-label={text.whole}>
        <Percent value={completeness.whole_percent} bar />
      </div>
      <div role="cell" className={classes.number} data-label={text.answered}>
        <Percent value={completeness.answered_percent} />
      </div>
      <div role="cell" className={classes.number} data-label={text.openHoles} data-low={holes > 0 || undefined}>
        {numbers.whole(holes)}
      </div>
      <div role="cell" className={classes.number} data-label={text.candles}>
        {numbers.whole(stored?.candles ?? 0)}
      </div>
      <div role="cell" className={classes.last}>
        {stored === undefined ? text.noCandles : timeText(Date.parse(stored.last_open_time))}
      </div>
    </>
  );
}
