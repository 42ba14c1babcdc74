import { Alert, Button, Drawer, Group, Skeleton, Stack, Table, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { keys } from "../api/keys";
import { isProblem } from "../api/problem";
import { readAgain } from "../api/readAgain";
import { notifyDone } from "../components/notify";
import { ErrorState } from "../components/states";
import { useMessages } from "../i18n";
import { useCan } from "../sessions/session";
import { ConfigFields } from "./ConfigFields";
import { bodyOfForm, differences, EMPTY, type FormValues, fieldErrors, text as shown, valuesOf } from "./form";
import { Preflight } from "./Preflight";
import { readConfig, saveConfig, useConfig } from "./queries";

const CHANGED = 412;
const GONE = 404;
const INVALID = 422;

/** The form for a new config or a change, beside the table. */
export function ConfigDrawer({ edit, onClose }: { edit: number | "new" | undefined; onClose: () => void }) {
  const { form: text } = useMessages();
  const existing = useConfig(typeof edit === "number" ? edit : null);
  const name = existing.data === undefined ? "" : `${existing.data.config.symbol} · ${existing.data.config.exchange}`;
  return (
    <Drawer
      opened={edit !== undefined}
      onClose={onClose}
      position="right"
      size="min(520px, 100vw)"
      title={edit === "new" ? text.createTitle : text.editTitle(name)}
      closeButtonProps={{ "aria-label": text.close }}
    >
      {edit === "new" ? (
        <ConfigForm key="new" loaded={null} onClose={onClose} />
      ) : existing.error !== null ? (
        <ErrorState error={existing.error} onRetry={() => void existing.refetch()} />
      ) : existing.data === undefined ? (
        <Skeleton height={360} radius="md" />
      ) : (
        <ConfigForm
          key={edit}
          loaded={{ id: existing.data.config.id, etag: existing.data.etag, values: valuesOf(existing.data.config) }}
          onClose={onClose}
        />
      )}
    </Drawer>
  );
}

interface Loaded {
  id: number;
  etag: string;
  values: FormValues;
}

function ConfigForm({ loaded: current, onClose }: { loaded: Loaded | null; onClose: () => void }) {
  const { configs, form: text } = useMessages();
  const queries = useQueryClient();
  /** The version on which the form is based. It stays, so that a change by another person is noticed. */
  const [loaded] = useState(current);
  const mayChange = useCan("admin");
  const [values, setValues] = useState<FormValues>(loaded?.values ?? EMPTY);
  /** The version that another person saved meanwhile. */
  const [theirs, setTheirs] = useState<Loaded | null>(null);
  const save = useMutation({
    mutationFn: (etag: string | undefined) =>
      saveConfig(bodyOfForm(values), loaded === null ? null : { id: loaded.id, etag: etag ?? loaded.etag }),
    onSuccess: (config) => {
      const name = `${config.symbol} · ${config.exchange}`;
      const message = loaded === null ? configs.isCreated(name) : configs.isSaved(name);
      notifyDone(message);
      void readAgain(queries, keys.all);
      onClose();
    },
    onError: async (error) => {
      if (loaded === null || !isProblem(error, CHANGED)) return;
      const current = await readConfig(loaded.id);
      setTheirs({ id: loaded.id, etag: current.etag, values: valuesOf(current.config) });
    },
  });
  const errors = isProblem(save.error, INVALID) ? fieldErrors(save.error.fields) : {};
  const shownError = save.error !== null && !isProblem(save.error, CHANGED) && Object.keys(errors).length === 0;
  const { reset } = save;
  // biome-ignore lint/correctness/useExhaustiveDependencies: an error belongs to the values that caused it.
  useEffect(() => reset(), [values]);

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate(theirs?.etag);
      }}
    >
      <Stack gap="md">
        {theirs !== null && loaded !== null && (
          <Conflict
            mine={values}
            theirs={theirs.values}
            onTake={() => {
              setValues(theirs.values);
              setTheirs(null);
              void readAgain(queries, keys.configs);
              onClose();
            }}
          />
        )}
        <ConfigFields values={values} errors={errors} isNew={loaded === null} onChange={setValues} />
        <Preflight values={values} id={loaded?.id} />
        {shownError &&
          (isProblem(save.error, GONE) ? (
            <Alert color="red" title={configs.gone} role="alert" />
          ) : (
            <ErrorState error={save.error} />
          ))}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {configs.cancel}
          </Button>
          <Button type="submit" loading={save.isPending} disabled={!mayChange}>
            {theirs !== null ? configs.keepMine : loaded === null ? text.create : text.save}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

interface ConflictProps {
  mine: FormValues;
  theirs: FormValues;
  onTake: () => void;
}

/** Another person has saved a version meanwhile (412). Nothing is lost: both versions are shown. */
function Conflict({ mine, theirs, onTake }: ConflictProps) {
  const { configs: text } = useMessages();
  const labels = useFieldLabels();
  return (
    <Alert color="yellow" variant="outline" title={text.changedTitle} role="alert">
      <Text size="sm">{text.changed}</Text>
      <Table mt="xs" layout="fixed">
        <Table.Thead>
          <Table.Tr>
            <Table.Td />
            <Table.Th>{text.yours}</Table.Th>
            <Table.Th>{text.theirs}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {differences(mine, theirs).map((name) => (
            <Table.Tr key={name}>
              <Table.Th scope="row">{labels[name]}</Table.Th>
              <Table.Td>{shown(mine[name])}</Table.Td>
              <Table.Td>{shown(theirs[name])}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Button size="xs" variant="default" mt="xs" onClick={onTake}>
        {text.takeTheirs}
      </Button>
    </Alert>
  );
}

function useFieldLabels(): Record<keyof FormValues, string> {
  const { form: text } = useMessages();
  return {
    exchange: text.exchange,
    symbol: text.symbol,
    timeframes: text.timeframes,
    interval_minutes: text.interval,
    enabled: text.enabled,
    start_date: text.startDate,
    description: text.description,
  };
}
