import { Button } from "@mantine/core";
import { IconCircleCheck, IconCircleX, IconRefresh } from "@tabler/icons-react";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo } from "react";
import { Time } from "../app/time";
import { type Column, dimmed, GridTable, rowLink } from "../components/GridTable";
import { PageHeader } from "../components/PageHeader";
import { EmptyState, ErrorState } from "../components/states";
import { ToneMark } from "../components/ToneMark";
import { useMessages } from "../i18n";
import { useCan, useSession } from "../sessions/session";
import { AuditFilters } from "./AuditFilters";
import { differences } from "./differences";
import { EntryDrawer } from "./EntryDrawer";
import { type AuditEntry, useAuditLog } from "./queries";
import type { AuditSearch } from "./search";

/** Who changed what, latest first. The filters and the open entry are in the address. */
export function AuditPage() {
  const search = useSearch({ from: "/audit" });
  const navigate = useNavigate({ from: "/audit" });
  const { audit: text, states, settings } = useMessages();
  const allowed = useCan("admin");
  const { me } = useSession();
  const list = useAuditLog(search, allowed);
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.rows) ?? [], [list.data]);
  const columns = useColumns(search);
  const { request, ...filters } = search;
  const isFiltered = Object.keys(filters).length > 0;
  const go = (next: AuditSearch, replace = true) => void navigate({ search: next, replace });
  const total = list.data?.pages[0]?.total;
  if (!allowed) {
    return (
      <>
        <PageHeader title={text.title} />
        <EmptyState
          title={states.forbiddenTitle}
          hint={states.needsRole(settings.role.admin, settings.role[me.role])}
        />
      </>
    );
  }
  return (
    <>
      <PageHeader title={text.title} note={total && text.total(total.rows, total.exact)}>
        <Button
          size="xs"
          variant="default"
          leftSection={<IconRefresh size={15} aria-hidden />}
          loading={list.isRefetching && !list.isFetchingNextPage}
          onClick={() => void list.refetch()}
        >
          {text.refresh}
        </Button>
      </PageHeader>
      <AuditFilters search={filters} onChange={go} />
      {list.error !== null ? (
        <ErrorState error={list.error} onRetry={() => void list.refetch()} />
      ) : !list.isPending && rows.length === 0 ? (
        <EmptyState
          title={isFiltered ? text.empty : text.none}
          hint={isFiltered ? text.emptyHint : text.noneHint}
          action={
            isFiltered && (
              <Button variant="default" onClick={() => go({})}>
                {text.clear}
              </Button>
            )
          }
        />
      ) : (
        <GridTable
          label={text.title}
          columns={columns}
          rows={rows}
          keyOf={(row) => row.id}
          isLoading={list.isPending}
          hasMore={list.hasNextPage}
          isLoadingMore={list.isFetchingNextPage}
          onMore={() => void list.fetchNextPage()}
        />
      )}
      <EntryDrawer requestId={request} onClose={() => go(filters)} />
    </>
  );
}

/** Whether the change was done or refused, as shape, colour and word. */
export function OutcomeMark({ outcome }: { outcome: AuditEntry["outcome"] }) {
  const { audit: text } = useMessages();
  const done = outcome === "done";
  return (
    <ToneMark tone={done ? "success" : "failed"} icon={done ? IconCircleCheck : IconCircleX}>
      {text.outcomes[outcome]}
    </ToneMark>
  );
}

function useColumns(search: AuditSearch): Column<AuditEntry>[] {
  const { audit: text } = useMessages();
  return [
    {
      key: "action",
      title: text.action,
      width: "minmax(150px, 1fr)",
      cell: (row) => (
        <Link to="/audit" search={{ ...search, request: row.request_id }} {...rowLink} resetScroll={false}>
          {row.action}
        </Link>
      ),
    },
    {
      key: "object",
      title: text.object,
      width: "minmax(100px, 0.7fr)",
      cell: (row) => (row.object_id === null ? row.object_type : `${row.object_type} ${row.object_id}`),
    },
    { key: "outcome", title: text.outcome, width: "110px", cell: (row) => <OutcomeMark outcome={row.outcome} /> },
    { key: "actor", title: text.actor, width: "minmax(110px, 0.8fr)", cell: (row) => row.actor },
    {
      key: "at",
      title: text.at,
      width: "205px",
      cell: (row) => (
        <span className={dimmed}>
          <Time value={row.at} />
        </span>
      ),
    },
    {
      key: "changes",
      title: text.changes,
      width: "minmax(200px, 2fr)",
      cell: (row) => <span className={dimmed}>{summaryOf(row)}</span>,
    },
  ];
}

/** The changed fields in one line; for a refused request its reason. */
function summaryOf(entry: AuditEntry): string {
  if (entry.outcome === "refused") {
    const { status, reason } = entry.after ?? {};
    return [status, reason].filter((each) => each !== undefined && each !== null).join(" · ") || "–";
  }
  const changed = differences(entry.before, entry.after);
  if (entry.before === null || entry.after === null) {
    const { symbol, exchange, name } = (entry.after ?? entry.before ?? {}) as Record<string, unknown>;
    return [symbol, exchange, name].filter((each) => typeof each === "string").join(" · ") || "–";
  }
  return changed.map(({ field, before, after }) => `${field}: ${before ?? "–"} → ${after ?? "–"}`).join("; ") || "–";
}
