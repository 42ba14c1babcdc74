import { Alert, Skeleton, Table } from "@mantine/core";
import { IconLock } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { api, BASE, bodyOf } from "../api/client";
import { keys } from "../api/keys";
import { Time } from "../app/time";
import { ErrorState } from "../components/states";
import { useMessages } from "../i18n";
import { useCan, useSession } from "../sessions/session";
import classes from "./ConfigPage.module.css";
import { type AuditEntry, changesOf } from "./changes";

const SHOWN = 50;

/** Who changed a config, when, and what. Only admins may read the audit log. */
export function History({ configId }: { configId: number }) {
  const { configPage: text, states, settings } = useMessages();
  const { me } = useSession();
  const allowed = useCan("admin");
  const entries = useQuery({
    queryKey: [...keys.configs, "history", configId],
    queryFn: async () => {
      const query = { object_type: "config", object_id: String(configId), limit: SHOWN };
      return bodyOf(await api.GET(`${BASE}/audit-log`, { params: { query } }));
    },
    enabled: allowed,
  });
  if (!allowed) {
    return (
      <Alert variant="outline" color="yellow" icon={<IconLock aria-hidden />} className={classes.locked}>
        {states.needsRole(settings.role.admin, settings.role[me.role])}
      </Alert>
    );
  }
  if (entries.error !== null) return <ErrorState error={entries.error} onRetry={() => void entries.refetch()} />;
  if (entries.data === undefined) return <Skeleton height={120} radius="md" />;
  if (entries.data.length === 0) return <p className={classes.nothing}>{text.noHistory}</p>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard.
    <section className={classes.table} tabIndex={0} aria-label={text.history}>
      <Table verticalSpacing="xs" horizontalSpacing="md">
        <Table.Thead>
          <Table.Tr>
            {[text.when, text.who, text.what, text.changes].map((title) => (
              <Table.Th key={title}>{title}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {entries.data.map((entry) => (
            <Entry key={entry.id} entry={entry} />
          ))}
        </Table.Tbody>
      </Table>
      {entries.data.length === SHOWN && <p className={classes.more}>{text.moreHistory(SHOWN)}</p>}
    </section>
  );
}

function Entry({ entry }: { entry: AuditEntry }) {
  const { configPage: text } = useMessages();
  const changes = changesOf(entry);
  return (
    <Table.Tr>
      <Table.Td className={classes.time}>
        <Time value={entry.at} />
      </Table.Td>
      <Table.Td>{entry.actor}</Table.Td>
      <Table.Td className={classes.time}>
        {text.actions[entry.action] ?? entry.action}
        {entry.outcome === "refused" && <strong className={classes.refused}> · {text.refused}</strong>}
      </Table.Td>
      <Table.Td className={classes.changes}>
        {changes.length === 0
          ? "–"
          : changes.map(({ field, before, after }) => (
              <div key={field}>
                <span className={classes.field}>{field}</span> {before !== undefined && <del>{before}</del>}
                {before !== undefined && after !== undefined && " → "}
                {after !== undefined && <ins>{after}</ins>}
              </div>
            ))}
      </Table.Td>
    </Table.Tr>
  );
}
