import { Button, Group, Loader, NativeSelect, SegmentedControl, Skeleton, Tooltip } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback, useMemo, useState } from "react";
import { PageHeader } from "../components/PageHeader";
import { EmptyState, ErrorState } from "../components/states";
import { TypedFilter } from "../components/TypedFilter";
import { useExchangeUse } from "../exchanges/queries";
import { useMessages } from "../i18n";
import { useCan, useSession } from "../sessions/session";
import { ConfigDrawer } from "./ConfigDrawer";
import classes from "./ConfigsPage.module.css";
import { ConfigTable } from "./ConfigTable";
import { rowOf, sorted } from "./figures";
import { partsWith, useActivity, useConfigList, useWholePercent } from "./queries";
import { type ConfigsSearch, isServerSort } from "./search";

type Changes = { [Name in keyof ConfigsSearch]?: ConfigsSearch[Name] | undefined };

function changed(before: ConfigsSearch, changes: Changes): ConfigsSearch {
  const next = Object.entries({ ...before, ...changes }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(next) as ConfigsSearch;
}

/** The table of configs. Search, filters, sorting and the open drawer are in the address. */
export function ConfigsPage() {
  const search = useSearch({ from: "/configs" });
  const navigate = useNavigate({ from: "/configs" });
  const { configs: text } = useMessages();
  const list = useConfigList(search);
  const ids = useMemo(() => list.configs?.map((config) => config.id) ?? [], [list.configs]);
  const [onScreen, setOnScreen] = useState(() => partsWith(0, 0));
  const onShown = useCallback((first: number, last: number) => {
    const parts = partsWith(first, last);
    setOnScreen((before) => (before.first === parts.first && before.last === parts.last ? before : parts));
  }, []);
  const watched = isServerSort(search.sort ?? "symbol") ? onScreen : "seldom";
  const activity = useActivity(ids, watched);
  const whole = useWholePercent(ids, watched);
  const rows = useMemo(
    () => list.configs?.map((each) => rowOf(each, activity.get(each.id), whole.get(each.id) ?? null)) ?? [],
    [list.configs, activity, whole],
  );
  const shown = useMemo(() => sorted(rows, search), [rows, search]);
  const isFiltered = search.q !== undefined || search.exchange !== undefined || search.shown !== undefined;
  const apply = useCallback(
    (changes: Changes, replace = true) => void navigate({ search: (before) => changed(before, changes), replace }),
    [navigate],
  );
  const openDrawer = useCallback((edit: number | "new") => apply({ edit }, false), [apply]);

  return (
    <>
      <PageHeader title={text.title} note={list.data && text.total(list.total)}>
        <CreateButton onClick={() => openDrawer("new")} />
      </PageHeader>
      <Filters search={search} apply={apply} isFiltered={isFiltered} />
      {list.error !== null ? (
        <ErrorState error={list.error} onRetry={() => void list.refetch()} />
      ) : list.configs === undefined ? (
        <Skeleton height={320} radius="md" />
      ) : shown.length === 0 ? (
        <EmptyState
          title={isFiltered ? text.empty : text.none}
          hint={isFiltered ? text.emptyHint : text.noneHint}
          action={!isFiltered && <CreateButton onClick={() => openDrawer("new")} />}
        />
      ) : list.readsAll ? (
        <p className={classes.reading} role="status">
          <Loader size="xs" /> {text.readingAll(rows.length, list.total)}
        </p>
      ) : (
        <ConfigTable
          rows={shown}
          hasMore={list.hasNextPage}
          isLoadingMore={list.isFetchingNextPage}
          onMore={() => void list.fetchNextPage()}
          onShown={onShown}
          search={search}
          apply={apply}
          onEdit={openDrawer}
        />
      )}
      <ConfigDrawer edit={search.edit} onClose={() => apply({ edit: undefined })} />
    </>
  );
}

function CreateButton({ onClick }: { onClick: () => void }) {
  const { configs: text, states, settings } = useMessages();
  const { me } = useSession();
  const allowed = useCan("admin");
  return (
    <Tooltip label={states.needsRole(settings.role.admin, settings.role[me.role])} disabled={allowed}>
      <Button
        leftSection={<IconPlus size={16} aria-hidden />}
        data-disabled={!allowed}
        aria-disabled={!allowed}
        onClick={() => allowed && onClick()}
      >
        {text.create}
      </Button>
    </Tooltip>
  );
}

interface FilterProps {
  search: ConfigsSearch;
  apply: (changes: Changes) => void;
  isFiltered: boolean;
}

function Filters({ search, apply, isFiltered }: FilterProps) {
  const { configs: text, runs } = useMessages();
  const use = useExchangeUse();
  const exchanges = useMemo(
    () => [
      ...new Set([...(use.data ?? []).map((each) => each.exchange), ...(search.exchange ? [search.exchange] : [])]),
    ],
    [use.data, search.exchange],
  );
  return (
    <Group gap="xs" mb="md" align="flex-end">
      <TypedFilter
        label={text.search}
        hint="BTC/USDT"
        width={280}
        value={search.q}
        onType={(q) => apply({ q })}
        isCleared={!isFiltered}
        main
      />
      <NativeSelect
        label={runs.exchange}
        size="xs"
        value={search.exchange ?? ""}
        onChange={(event) => apply({ exchange: event.currentTarget.value || undefined })}
        data={[{ value: "", label: runs.anyExchange }, ...exchanges]}
      />
      <SegmentedControl
        aria-label={text.enabled}
        size="xs"
        value={search.shown ?? "all"}
        onChange={(value) => apply({ shown: value === "all" ? undefined : (value as "enabled" | "disabled") })}
        data={[
          { value: "all", label: text.all },
          { value: "enabled", label: text.enabled },
          { value: "disabled", label: text.disabled },
        ]}
      />
      {isFiltered && (
        <Button
          size="xs"
          variant="subtle"
          onClick={() => apply({ q: undefined, exchange: undefined, shown: undefined })}
        >
          {runs.clear}
        </Button>
      )}
    </Group>
  );
}
