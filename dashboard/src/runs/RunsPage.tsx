import { Button } from "@mantine/core";
import { IconArrowUp, IconDownload } from "@tabler/icons-react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { PageHeader } from "../components/PageHeader";
import { EmptyState, ErrorState } from "../components/states";
import { useMessages } from "../i18n";
import { useRuns } from "./queries";
import { RunFilters } from "./RunFilters";
import classes from "./RunsPage.module.css";
import { RunTable } from "./RunTable";
import { exportUrl, type RunsSearch } from "./search";

/** The list of runs, latest first. Its filters are in the address. */
export function RunsPage() {
  const search = useSearch({ from: "/runs" });
  const navigate = useNavigate({ from: "/runs" });
  const list = useRuns(search);
  const { runs: text } = useMessages();
  const isFiltered = Object.keys(search).length > 0;
  const setSearch = (next: RunsSearch) => void navigate({ search: next, replace: true });

  return (
    <>
      <PageHeader title={text.title} note={list.total && text.total(list.total.rows, list.total.exact)}>
        <Button
          component="a"
          href={exportUrl(search, Date.now())}
          size="xs"
          variant="default"
          leftSection={<IconDownload size={15} aria-hidden />}
          download
        >
          {text.exportCsv}
        </Button>
      </PageHeader>
      <RunFilters search={search} onChange={setSearch} />
      <div className={classes.newRuns} aria-live="polite">
        {list.waiting > 0 && (
          <Button
            size="compact-sm"
            radius="xl"
            leftSection={<IconArrowUp size={14} aria-hidden />}
            onClick={() => {
              list.showNew();
              window.scrollTo({ top: 0 });
            }}
          >
            {text.showNew(list.waiting)}
          </Button>
        )}
      </div>
      {list.error !== null ? (
        <ErrorState error={list.error} onRetry={() => void list.refetch()} />
      ) : !list.isLoading && list.runs.length === 0 ? (
        <EmptyState
          title={isFiltered ? text.empty : text.none}
          hint={isFiltered ? text.emptyHint : text.noneHint}
          action={
            isFiltered && (
              <Button variant="default" onClick={() => setSearch({})}>
                {text.clear}
              </Button>
            )
          }
        />
      ) : (
        <RunTable
          runs={list.runs}
          isLoading={list.isLoading}
          hasMore={list.hasMore}
          isLoadingMore={list.isLoadingMore}
          onMore={() => void list.loadMore()}
        />
      )}
    </>
  );
}
