import { Button, Group, NativeSelect } from "@mantine/core";
import { TypedFilter } from "../components/TypedFilter";
import { useMessages } from "../i18n";
import type { AuditSearch } from "./search";

const OBJECTS = ["config", "backfill", "token", "session", "request", "refusal", "audit_log"] as const;

type Changes = { [Name in keyof AuditSearch]?: AuditSearch[Name] | undefined };

export function AuditFilters({ search, onChange }: { search: AuditSearch; onChange: (search: AuditSearch) => void }) {
  const { audit: text } = useMessages();
  const apply = (changes: Changes) => {
    const next = Object.entries({ ...search, ...changes }).filter(([, value]) => value !== undefined);
    onChange(Object.fromEntries(next) as AuditSearch);
  };
  const isCleared = Object.keys(search).length === 0;
  return (
    <Group gap="xs" mb="md" align="flex-end">
      <TypedFilter
        label={text.actor}
        hint="grafana"
        value={search.actor}
        onType={(actor) => apply({ actor })}
        isCleared={isCleared}
        main
      />
      <TypedFilter
        label={text.action}
        hint="config.update"
        value={search.action}
        onType={(action) => apply({ action })}
        isCleared={isCleared}
      />
      <NativeSelect
        label={text.object}
        size="xs"
        value={search.object_type ?? ""}
        onChange={(event) => apply({ object_type: event.currentTarget.value || undefined })}
        data={[{ value: "", label: text.anyObject }, ...OBJECTS]}
      />
      <TypedFilter
        label={text.objectId}
        hint="1"
        value={search.object_id}
        onType={(object_id) => apply({ object_id })}
        isCleared={isCleared}
        width={80}
      />
      <NativeSelect
        label={text.outcome}
        size="xs"
        value={search.outcome ?? ""}
        onChange={(event) => apply({ outcome: (event.currentTarget.value || undefined) as AuditSearch["outcome"] })}
        data={[
          { value: "", label: text.anyOutcome },
          { value: "done", label: text.outcomes.done },
          { value: "refused", label: text.outcomes.refused },
        ]}
      />
      <NativeSelect
        label={text.since}
        size="xs"
        value={search.since ?? ""}
        onChange={(event) => apply({ since: (event.currentTarget.value || undefined) as AuditSearch["since"] })}
        data={[
          { value: "", label: text.anyTime },
          { value: "24h", label: text.lastDay },
          { value: "7d", label: text.lastWeek },
          { value: "30d", label: text.lastMonth },
        ]}
      />
      {!isCleared && (
        <Button size="xs" variant="subtle" onClick={() => onChange({})}>
          {text.clear}
        </Button>
      )}
    </Group>
  );
}
