import { Drawer, Skeleton, Stack, Table } from "@mantine/core";
import { Time } from "../app/time";
import { EmptyState, ErrorState } from "../components/states";
import { useMessages } from "../i18n";
import classes from "./Audit.module.css";
import { OutcomeMark } from "./AuditPage";
import { differences } from "./differences";
import { type AuditEntry, useEntriesOfRequest } from "./queries";

interface Props {
  requestId: string | undefined;
  onClose: () => void;
}

/** The entries of one request with the fields before and after the change. */
export function EntryDrawer({ requestId, onClose }: Props) {
  const { audit: text, form } = useMessages();
  const entries = useEntriesOfRequest(requestId);
  return (
    <Drawer
      opened={requestId !== undefined}
      onClose={onClose}
      position="right"
      size="min(640px, 100vw)"
      title={text.entry}
      closeButtonProps={{ "aria-label": form.close }}
    >
      {entries.error !== null ? (
        <ErrorState error={entries.error} onRetry={() => void entries.refetch()} />
      ) : entries.data === undefined ? (
        <Skeleton height={300} radius="md" />
      ) : entries.data.length === 0 ? (
        <EmptyState title={text.notFound} hint={text.notFoundHint} />
      ) : (
        <Stack gap="lg">
          {entries.data[0] !== undefined && <Facts entry={entries.data[0]} />}
          {entries.data.map((entry) => (
            <Change key={entry.id} entry={entry} />
          ))}
        </Stack>
      )}
    </Drawer>
  );
}

/** Who sent the request, when and from where. */
function Facts({ entry }: { entry: AuditEntry }) {
  const { audit: text } = useMessages();
  const facts = [
    [text.actor, `${entry.actor} (${text.kinds[entry.actor_kind] ?? entry.actor_kind})`],
    [text.address, entry.address ?? "–"],
    [text.token, entry.token_id === null ? "–" : String(entry.token_id)],
    [text.requestId, entry.request_id],
    ...(entry.subject === null ? [] : [[text.subject, entry.subject] as const]),
  ] as const;
  return (
    <dl className={classes.facts}>
      <dt>{text.at}</dt>
      <dd>
        <Time value={entry.at} />
      </dd>
      {facts.map(([label, value]) => [
        <dt key={label}>{label}</dt>,
        <dd key={`${label} value`} className={classes.value}>
          {value}
        </dd>,
      ])}
    </dl>
  );
}

function Change({ entry }: { entry: AuditEntry }) {
  const { audit: text } = useMessages();
  const changed = differences(entry.before, entry.after);
  const refused = entry.outcome === "refused";
  const object = entry.object_id === null ? "" : ` · ${entry.object_type} ${entry.object_id}`;
  return (
    <section aria-label={`${entry.action}${object}`}>
      <h2 className={classes.action}>
        {entry.action}
        <small>{object}</small> <OutcomeMark outcome={entry.outcome} />
      </h2>
      {changed.length === 0 ? (
        <p className={classes.none}>{text.noFields}</p>
      ) : (
        <Table layout="fixed" className={classes.changes}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th w="30%">{text.field}</Table.Th>
              {!refused && <Table.Th>{text.before}</Table.Th>}
              <Table.Th>{refused ? text.value : text.after}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {changed.map(({ field, before, after }) => (
              <Table.Tr key={field}>
                <Table.Th scope="row">{field}</Table.Th>
                {!refused && <Table.Td>{before === undefined ? "" : <del>{before}</del>}</Table.Td>}
                <Table.Td>{after === undefined ? "" : refused ? after : <ins>{after}</ins>}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </section>
  );
}
