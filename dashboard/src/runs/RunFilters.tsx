import { Button, Group, NativeSelect } from "@mantine/core";
import { IconX } from "@tabler/icons-react";
import { TypedFilter } from "../components/TypedFilter";
import { useExchangeNames } from "../exchanges/queries";
import { useMessages } from "../i18n";
import { TIMEFRAMES } from "../series/search";
import { ERROR_CLASSES, type ErrorClass, type RunsSearch, type Since, type Status } from "./search";

/** The search without the fields that are undefined. */
function compact(search: { [Name in keyof RunsSearch]: RunsSearch[Name] | undefined }): RunsSearch {
  return Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined)) as RunsSearch;
}

export function RunFilters({ search, onChange }: { search: RunsSearch; onChange: (search: RunsSearch) => void }) {
  const { runs: text, status: words } = useMessages();
  const exchanges = useExchangeNames();
  const apply = (changes: { [Name in keyof RunsSearch]?: RunsSearch[Name] | undefined }) =>
    onChange(compact({ ...search, ...changes }));
  const isCleared = Object.keys(search).length === 0;

  return (
    <Group gap="xs" mb="md" align="flex-end">
      <NativeSelect
        label={text.status}
        size="xs"
        value={search.status ?? ""}
        onChange={(event) => apply({ status: (event.currentTarget.value || undefined) as Status | undefined })}
        data={[
          { value: "", label: text.anyStatus },
          ...(["running", "success", "failed", "skipped"] as const).map((value) => ({ value, label: words[value] })),
        ]}
      />
      <NativeSelect
        label={text.exchange}
        size="xs"
        value={search.exchange ?? ""}
        onChange={(event) => apply({ exchange: event.currentTarget.value || undefined })}
        data={[{ value: "", label: text.anyExchange }, ...exchanges]}
      />
      <NativeSelect
        label={text.timeframe}
        size="xs"
        value={search.timeframe ?? ""}
        onChange={(event) => apply({ timeframe: event.currentTarget.value || undefined })}
        data={[{ value: "", label: text.anyTimeframe }, ...TIMEFRAMES]}
      />
      <NativeSelect
        label={text.errorClass}
        size="xs"
        value={search.error_class ?? ""}
        onChange={(event) => apply({ error_class: (event.currentTarget.value || undefined) as ErrorClass | undefined })}
        data={[{ value: "", label: text.anyErrorClass }, ...ERROR_CLASSES]}
      />
      <NativeSelect
        label={text.since}
        size="xs"
        value={search.since ?? ""}
        onChange={(event) => apply({ since: (event.currentTarget.value || undefined) as Since | undefined })}
        data={[
          { value: "", label: text.anyTime },
          { value: "1h", label: text.lastHour },
          { value: "24h", label: text.lastDay },
          { value: "7d", label: text.lastWeek },
        ]}
      />
      <TypedFilter
        label={text.symbol}
        hint="BTC/USDT"
        width={170}
        value={search.symbol}
        onType={(symbol) => apply({ symbol: symbol?.toUpperCase() })}
        isCleared={isCleared}
        main
      />
      {search.config_id !== undefined && (
        <Button
          size="xs"
          variant="light"
          rightSection={<IconX size={14} aria-hidden />}
          onClick={() => apply({ config_id: undefined })}
        >
          {text.config} {search.config_id}
        </Button>
      )}
      {search.run_id !== undefined && (
        <Button
          size="xs"
          variant="light"
          rightSection={<IconX size={14} aria-hidden />}
          onClick={() => apply({ run_id: undefined })}
        >
          {text.runId} {search.run_id.slice(0, 8)}
        </Button>
      )}
      {!isCleared && (
        <Button size="xs" variant="subtle" onClick={() => onChange({})}>
          {text.clear}
        </Button>
      )}
    </Group>
  );
}
