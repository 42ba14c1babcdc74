import { Chip, Group } from "@mantine/core";
import { Link, useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";
import { Time } from "../app/time";
import { type Column, dimmed, GridTable, rowLink, twoLines } from "../components/GridTable";
import { EmptyState, ErrorState } from "../components/states";
import { useMessages, useNumbers } from "../i18n";
import { ChunkMark, ProgressBar } from "./marks";
import { type BackfillDetails, type Chunk, type SeriesProgress, useBackfillChunks, useBackfillSeries } from "./queries";
import { CHUNK_STATES, type ChunkState } from "./search";
import { RangeText } from "./selection";

/** The series of a backfill, each with its progress. */
export function SeriesTable({ id }: { id: number }) {
  const { backfills: text } = useMessages();
  const numbers = useNumbers();
  const list = useBackfillSeries(id, true);
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.rows) ?? [], [list.data]);
  const columns: Column<SeriesProgress>[] = [
    {
      key: "symbol",
      title: text.symbol,
      width: "minmax(130px, 1fr)",
      cell: (row) => <strong>{row.symbol}</strong>,
    },
    { key: "exchange", title: text.exchange, width: "minmax(90px, 0.7fr)", cell: (row) => row.exchange },
    { key: "timeframe", title: text.timeframe, width: "90px", cell: (row) => row.timeframe },
    {
      key: "progress",
      title: text.progress,
      width: "minmax(170px, 2fr)",
      cell: (row) => (
        <ProgressBar
          percent={row.percent}
          label={`${row.symbol} ${row.timeframe}`}
          shown={row.percent === null ? "–" : numbers.percent(row.percent)}
        />
      ),
    },
    {
      key: "missing",
      title: text.missing,
      width: "120px",
      number: true,
      cell: (row) => numbers.whole(row.missing_candles),
    },
    { key: "candles", title: text.candles, width: "120px", number: true, cell: (row) => numbers.whole(row.candles) },
  ];
  if (list.error !== null) return <ErrorState error={list.error} onRetry={() => void list.refetch()} />;
  return (
    <GridTable
      label={text.series}
      columns={columns}
      rows={rows}
      keyOf={(row) => `${row.exchange} ${row.symbol} ${row.timeframe}`}
      isLoading={list.isPending}
      hasMore={list.hasNextPage}
      isLoadingMore={list.isFetchingNextPage}
      onMore={() => void list.fetchNextPage()}
    />
  );
}

interface ChunkProps {
  id: number;
  counts: BackfillDetails["progress"]["chunks"];
  state: ChunkState | undefined;
}

/** The chunks of a backfill with their states and reasons. */
export function ChunkTable({ id, counts, state }: ChunkProps) {
  const navigate = useNavigate({ from: "/backfills/$backfillId" });
  const { backfills: text } = useMessages();
  const numbers = useNumbers();
  const list = useBackfillChunks(id, state, true);
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.rows) ?? [], [list.data]);
  const choose = (value: string) =>
    void navigate({
      search: { part: "chunks", ...(value !== "" && { chunks: value as ChunkState }) },
      replace: true,
      resetScroll: false,
    });
  const filter = (
    <Chip.Group value={state ?? ""} onChange={choose}>
      <Group gap={6} mb="sm" role="group" aria-label={text.state}>
        <Chip value="" size="xs">
          {text.all}
        </Chip>
        {CHUNK_STATES.map((each) => (
          <Chip key={each} value={each} size="xs">
            {text.chunkStates[each]} · {numbers.whole(counts[each])}
          </Chip>
        ))}
      </Group>
    </Chip.Group>
  );
  return (
    <>
      {filter}
      {list.error !== null ? (
        <ErrorState error={list.error} onRetry={() => void list.refetch()} />
      ) : !list.isPending && rows.length === 0 ? (
        <EmptyState title={text.noChunks} hint={text.noChunksHint} />
      ) : (
        <GridTable
          label={text.chunks}
          columns={chunkColumns(text)}
          rows={rows}
          keyOf={(row) => row.id}
          height={58}
          isLoading={list.isPending}
          hasMore={list.hasNextPage}
          isLoadingMore={list.isFetchingNextPage}
          onMore={() => void list.fetchNextPage()}
        />
      )}
    </>
  );
}

function chunkColumns(text: ReturnType<typeof useMessages>["backfills"]): Column<Chunk>[] {
  return [
    { key: "series", title: text.symbol, width: "minmax(210px, 1fr)", cell: (row) => <ChunkName chunk={row} /> },
    { key: "state", title: text.state, width: "130px", cell: (row) => <ChunkMark state={row.state} /> },
    {
      key: "range",
      title: text.range,
      width: "minmax(270px, 0.8fr)",
      cell: (row) => <RangeText start={row.start} end={row.end} />,
    },
    { key: "attempts", title: text.attempts, width: "72px", number: true, cell: (row) => row.attempts },
    {
      key: "when",
      title: text.nextOrEnd,
      width: "180px",
      wideOnly: true,
      cell: (row) => (
        <span className={dimmed}>
          <Time value={row.ended_at ?? (row.state === "requested" ? row.requested_at : row.next_attempt_at)} />
        </span>
      ),
    },
    {
      key: "reason",
      title: text.reason,
      width: "minmax(200px, 2fr)",
      cell: (row) => (
        <span className={twoLines} title={row.reason ?? undefined}>
          {row.error_class !== null && <code>{row.error_class}: </code>}
          {row.reason ?? "–"}
        </span>
      ),
    },
  ];
}

/** The series of a chunk. It leads to the run of the latest attempt. */
function ChunkName({ chunk }: { chunk: Chunk }) {
  const name = `${chunk.symbol} · ${chunk.exchange} · ${chunk.timeframe}`;
  if (chunk.run_id === null) return <strong>{name}</strong>;
  return (
    <Link to="/runs" search={{ run_id: chunk.run_id }} {...rowLink}>
      {name}
    </Link>
  );
}
