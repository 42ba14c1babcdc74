import { Button, SegmentedControl } from "@mantine/core";
import { IconArrowUp, IconPlus } from "@tabler/icons-react";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { Time } from "../app/time";
import { type Column, dimmed, GridTable, rowLink } from "../components/GridTable";
import { PageHeader } from "../components/PageHeader";
import { RoleButton } from "../components/RoleButton";
import { EmptyState, ErrorState } from "../components/states";
import { useMessages, useNumbers } from "../i18n";
import { BackfillDrawer } from "./BackfillDrawer";
import classes from "./Backfills.module.css";
import { BackfillMark, ProgressBar } from "./marks";
import { type Backfill, useBackfill, useBackfills } from "./queries";
import { type BackfillsSearch, STATES, type State } from "./search";
import { RangeText, useSelectionText } from "./selection";

/** The list of backfills, newest first. The filter and the open form are in the address. */
export function BackfillsPage() {
  const search = useSearch({ from: "/backfills" });
  const navigate = useNavigate({ from: "/backfills" });
  const { backfills: text } = useMessages();
  const list = useBackfills(search.state);
  const loaded = useMemo(() => list.data?.pages.flatMap((page) => page.rows) ?? [], [list.data]);
  const { rows, waiting, showNew } = useHeldRows(loaded, list.isFetching, search.state);
  const total = list.data?.pages[0]?.total;
  const columns = useColumns();
  const go = (next: BackfillsSearch, replace = true) => void navigate({ search: next, replace });
  const ofState = search.state && { state: search.state };
  const create = (
    <RoleButton
      needs="operator"
      leftSection={<IconPlus size={16} aria-hidden />}
      onClick={() => go({ ...search, create: true }, false)}
    >
      {text.create}
    </RoleButton>
  );
  return (
    <>
      <PageHeader title={text.title} note={total && text.total(total.rows)}>
        {create}
      </PageHeader>
      <div className={classes.filters}>
        <SegmentedControl
          aria-label={text.state}
          value={search.state ?? "all"}
          onChange={(value) => go(value === "all" ? {} : { state: value as State })}
          data={[{ value: "all", label: text.all }, ...STATES.map((value) => ({ value, label: text.states[value] }))]}
        />
      </div>
      <div className={classes.newRows} aria-live="polite">
        {waiting > 0 && (
          <Button size="compact-sm" radius="xl" leftSection={<IconArrowUp size={14} aria-hidden />} onClick={showNew}>
            {text.showNew(waiting)}
          </Button>
        )}
      </div>
      {list.error !== null ? (
        <ErrorState error={list.error} onRetry={() => void list.refetch()} />
      ) : !list.isPending && rows.length === 0 ? (
        <EmptyState
          title={search.state ? text.empty : text.none}
          hint={search.state ? text.emptyHint : text.noneHint}
          action={!search.state && create}
        />
      ) : (
        <GridTable
          label={text.title}
          columns={columns}
          rows={rows}
          keyOf={(row) => row.id}
          height={60}
          isLoading={list.isPending}
          hasMore={list.hasNextPage}
          isLoadingMore={list.isFetchingNextPage}
          onMore={() => void list.fetchNextPage()}
        />
      )}
      <BackfillDrawer opened={search.create === true} search={search} onClose={() => go({ ...ofState })} />
    </>
  );
}

/** New backfills wait until a person asks for them, so that no row moves under the pointer. */
function useHeldRows(loaded: readonly Backfill[], isFetching: boolean, filter: State | undefined) {
  const [newest, setNewest] = useState<{ id: number; filter: State | undefined } | null>(null);
  const latest = loaded[0]?.id ?? 0;
  const held = newest !== null && newest.filter === filter ? newest.id : null;
  useEffect(() => {
    if (held === null && !isFetching) setNewest({ id: latest, filter });
  }, [held, isFetching, latest, filter]);
  const rows = useMemo(() => (held ? loaded.filter((row) => row.id <= held) : [...loaded]), [loaded, held]);
  return { rows, waiting: loaded.length - rows.length, showNew: () => setNewest({ id: latest, filter }) };
}

function useColumns(): Column<Backfill>[] {
  const { backfills: text } = useMessages();
  const numbers = useNumbers();
  const selection = useSelectionText();
  return [
    {
      key: "what",
      title: text.what,
      width: "minmax(200px, 1.4fr)",
      cell: (row) => (
        <Link to="/backfills/$backfillId" params={{ backfillId: String(row.id) }} {...rowLink}>
          {selection(row)}
        </Link>
      ),
    },
    { key: "state", title: text.state, width: "120px", cell: (row) => <ListedState backfill={row} /> },
    {
      key: "progress",
      title: text.progress,
      width: "minmax(150px, 1fr)",
      cell: (row) => <ListedProgress backfill={row} />,
    },
    {
      key: "range",
      title: text.range,
      width: "minmax(236px, 1fr)",
      cell: (row) => <RangeText start={row.start} end={row.end} />,
    },
    {
      key: "series",
      title: text.series,
      width: "64px",
      number: true,
      wideOnly: true,
      cell: (row) => numbers.whole(row.series),
    },
    {
      key: "by",
      title: text.createdBy,
      width: "minmax(100px, 0.6fr)",
      wideOnly: true,
      cell: (row) => <span className={dimmed}>{row.created_by}</span>,
    },
    {
      key: "at",
      title: text.createdAt,
      width: "180px",
      wideOnly: true,
      cell: (row) => (
        <span className={dimmed}>
          <Time value={row.created_at} />
        </span>
      ),
    },
  ];
}

function ListedState({ backfill }: { backfill: Backfill }) {
  const details = useBackfill(backfill.id);
  return <BackfillMark state={backfill.state} isWhole={details.data?.progress.is_whole === true} />;
}

function ListedProgress({ backfill }: { backfill: Backfill }) {
  const { backfills: text } = useMessages();
  const numbers = useNumbers();
  const details = useBackfill(backfill.id);
  const percent = details.data?.progress.percent ?? null;
  return (
    <ProgressBar
      percent={percent}
      label={text.progress}
      shown={percent === null ? (details.isPending ? "…" : "–") : numbers.percent(percent)}
    />
  );
}
