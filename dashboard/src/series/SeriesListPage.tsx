import { Button, Group, NativeSelect } from "@mantine/core";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type Column, dimmed, GridTable, rowLink } from "../components/GridTable";
import { PageHeader } from "../components/PageHeader";
import { EmptyState, ErrorState } from "../components/states";
import { TypedFilter } from "../components/TypedFilter";
import { useExchangeNames } from "../exchanges/queries";
import { useMessages, useNumbers } from "../i18n";
import { Percent } from "./Percent";
import { type SeriesRow, useSeriesList } from "./queries";
import classes from "./SeriesListPage.module.css";
import { paramsOf, pathOf, type SeriesSearch, TIMEFRAMES } from "./search";
import { timeText } from "./times";

/** The list of series with their completeness. Its filters are in the address. */
export function SeriesListPage() {
  const search = useSearch({ from: "/series" });
  const navigate = useNavigate({ from: "/series" });
  const { series: text, runs } = useMessages();
  const list = useSeriesList(search);
  const columns = useColumns();
  const setSearch = (next: SeriesSearch) => void navigate({ search: next, replace: true });
  const isFiltered = Object.keys(search).length > 0;
  const nothing = list.isSuccess && list.rows.length === 0;
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
      ) : (
        <GridTable
          label={text.title}
          columns={columns}
          rows={list.rows}
          keyOf={pathOf}
          isLoading={list.isPending}
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
  const apply = (changes: { [Name in keyof SeriesSearch]?: string | undefined }) =>
    onChange(Object.fromEntries(Object.entries({ ...search, ...changes }).filter(([, value]) => value)));
  const isCleared = Object.keys(search).length === 0;
  return (
    <Group gap="xs" mb="md" align="flex-end">
      <TypedFilter
        label={text.symbol}
        hint="BTC/USDT"
        width={190}
        value={search.symbol}
        onType={(symbol) => apply({ symbol: symbol?.toUpperCase() })}
        isCleared={isCleared}
        main
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
      {!isCleared && (
        <Button size="xs" variant="subtle" onClick={() => onChange({})}>
          {runs.clear}
        </Button>
      )}
    </Group>
  );
}

function useColumns(): Column<SeriesRow>[] {
  const { series: text } = useMessages();
  const numbers = useNumbers();
  return [
    {
      key: "symbol",
      title: text.symbol,
      width: "minmax(120px, 1.4fr)",
      cell: (row) => (
        <Link to="/series/$exchange/$" params={paramsOf(row)} {...rowLink}>
          {row.symbol}
        </Link>
      ),
    },
    {
      key: "exchange",
      title: text.exchange,
      width: "minmax(80px, 1fr)",
      cell: (row) => <span className={dimmed}>{row.exchange}</span>,
    },
    { key: "timeframe", title: text.timeframe, width: "84px", cell: (row) => row.timeframe },
    {
      key: "whole",
      title: text.whole,
      width: "160px",
      number: true,
      cell: ({ completeness }) => <Percent value={completeness.whole_percent} bar />,
    },
    {
      key: "answered",
      title: text.answered,
      width: "96px",
      number: true,
      wideOnly: true,
      cell: ({ completeness }) => <Percent value={completeness.answered_percent} />,
    },
    {
      key: "holes",
      title: text.openHoles,
      width: "96px",
      number: true,
      cell: ({ stored }) => <Holes count={stored?.open_holes ?? 0} />,
    },
    {
      key: "candles",
      title: text.candles,
      width: "104px",
      number: true,
      cell: ({ stored }) => numbers.whole(stored?.candles ?? 0),
    },
    {
      key: "last",
      title: text.lastCandle,
      width: "150px",
      number: true,
      cell: ({ stored }) => (
        <span className={dimmed}>
          {stored === undefined ? text.noCandles : timeText(Date.parse(stored.last_open_time))}
        </span>
      ),
    },
  ];
}

function Holes({ count }: { count: number }) {
  const numbers = useNumbers();
  return <span className={count > 0 ? classes.open : undefined}>{numbers.whole(count)}</span>;
}
