import { Button, Chip, Drawer, Group, Input, SegmentedControl, Select, Stack, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { isProblem } from "../api/problem";
import { notifyDone } from "../components/notify";
import { ErrorState } from "../components/states";
import { fieldErrors } from "../configs/form";
import { useSelection } from "../configs/queries";
import { useMessages } from "../i18n";
import { useCan } from "../sessions/session";
import { DryRunResult } from "./DryRunResult";
import { bodyOfForm, type FormValues, instantOf, valuesOfSearch } from "./form";
import { useCreateBackfill, useDryRun } from "./queries";
import type { BackfillsSearch } from "./search";

const TYPING_MS = 600;
const INVALID = 422;
const MINUTES = /^(\d+)([smhdwMy])$/;
const UNIT_SECONDS: Record<string, number> = {
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
  M: 2_592_000,
  y: 31_536_000,
};

interface Props {
  opened: boolean;
  search: BackfillsSearch;
  onClose: () => void;
}

/** The form for a new backfill, beside the list. */
export function BackfillDrawer({ opened, search, onClose }: Props) {
  const { backfills: text, form } = useMessages();
  return (
    <Drawer
      opened={opened}
      onClose={onClose}
      position="right"
      size="min(540px, 100vw)"
      title={text.createTitle}
      closeButtonProps={{ "aria-label": form.close }}
    >
      <BackfillForm initial={valuesOfSearch(search)} onClose={onClose} />
    </Drawer>
  );
}

/** A key for one request, so that a repetition creates no second backfill. */
function requestKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function BackfillForm({ initial, onClose }: { initial: FormValues; onClose: () => void }) {
  const { backfills: text, configs } = useMessages();
  const allowed = useCan("operator");
  const navigate = useNavigate();
  const [values, setValues] = useState(initial);
  const [settled] = useDebouncedValue(values, TYPING_MS);
  const dryRun = useDryRun(bodyOfForm(settled, true), allowed);
  const create = useCreateBackfill();
  const body = bodyOfForm(values, false);
  const [key, setKey] = useState(requestKey);
  const refusal = create.error ?? dryRun.error;
  const errors = isProblem(refusal, INVALID) ? fieldErrors(refusal.fields) : {};
  const submit = () => {
    if (body === undefined || !allowed) return;
    create.mutate(
      { body, key },
      {
        onSuccess: (made) => {
          notifyDone(text.isCreated(made.series));
          void navigate({ to: "/backfills/$backfillId", params: { backfillId: String(made.id) } });
        },
      },
    );
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Stack gap="md">
        <Fields
          values={values}
          errors={errors}
          onChange={(next) => {
            setValues(next);
            setKey(requestKey());
            create.reset();
          }}
        />
        {create.error !== null ? <ErrorState error={create.error} /> : <DryRunResult dryRun={dryRun} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {configs.cancel}
          </Button>
          <Button type="submit" loading={create.isPending} disabled={!allowed || body === undefined}>
            {text.start}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

const seconds = (timeframe: string) => {
  const [, count, unit] = MINUTES.exec(timeframe) ?? [];
  return Number(count ?? 0) * (UNIT_SECONDS[unit ?? ""] ?? 0);
};

interface FieldProps {
  values: FormValues;
  errors: Partial<Record<string, string>>;
  onChange: (values: FormValues) => void;
}

/** What is selected, and the range. Exchanges and timeframes are those of the configs that match. */
function Fields({ values, errors, onChange }: FieldProps) {
  const { backfills: text } = useMessages();
  const set = (changes: Partial<FormValues>) => onChange({ ...values, ...changes });
  const [symbol] = useDebouncedValue(values.symbol.trim(), TYPING_MS);
  const all = useSelection().data;
  const matching = useSelection(symbol, values.exchange).data;
  const timeframes = [...new Set([...(matching?.timeframes ?? []), ...values.timeframes])].sort(
    (a, b) => seconds(a) - seconds(b),
  );
  const timeError = (typed: string, refused: string | undefined) =>
    instantOf(typed) === undefined ? text.timeInvalid : refused;
  return (
    <Stack gap="md">
      <Select
        label={text.exchange}
        data-autofocus
        data={[{ value: "", label: text.allExchanges }, ...(all?.exchanges ?? [])]}
        allowDeselect={false}
        value={values.exchange}
        onChange={(exchange) => set({ exchange: exchange ?? "" })}
      />
      <TextInput
        label={text.symbol}
        description={text.symbolHint}
        autoComplete="off"
        spellCheck={false}
        value={values.symbol}
        onChange={(event) => set({ symbol: event.currentTarget.value })}
        error={matching?.configs === 0 ? text.matchesNothing : undefined}
      />
      <Input.Wrapper
        label={text.timeframes}
        description={text.timeframesHint(matching?.configs ?? 0)}
        labelElement="div"
        error={errors.timeframes}
      >
        <Chip.Group multiple value={values.timeframes} onChange={(next) => set({ timeframes: next })}>
          <Group gap={6} mt={6} role="group" aria-label={text.timeframes}>
            {timeframes.map((each) => (
              <Chip key={each} value={each} size="xs">
                {each}
              </Chip>
            ))}
          </Group>
        </Chip.Group>
      </Input.Wrapper>
      <Group grow align="flex-start">
        <TextInput
          label={text.from}
          description={text.fromHint}
          placeholder="2026-01-01"
          value={values.start}
          onChange={(event) => set({ start: event.currentTarget.value })}
          error={timeError(values.start, errors.start)}
        />
        <TextInput
          label={text.until}
          description={text.untilHint}
          placeholder="2026-02-01 12:00"
          value={values.end}
          onChange={(event) => set({ end: event.currentTarget.value })}
          error={timeError(values.end, errors.end)}
        />
      </Group>
      <Choice
        label={text.mode}
        hint={text.modeHint[values.mode]}
        value={values.mode}
        options={[
          ["missing", text.modes.missing],
          ["all", text.modes.all],
        ]}
        onChange={(mode) => set({ mode: mode as FormValues["mode"] })}
      />
      <Choice
        label={text.source}
        hint={errors.source ?? text.sourceHint[values.source]}
        isError={errors.source !== undefined}
        value={values.source}
        options={[
          ["candles", text.sources.candles],
          ["trades", text.sources.trades],
        ]}
        onChange={(source) => set({ source: source as FormValues["source"] })}
      />
      <TextInput
        label={text.description}
        value={values.description}
        onChange={(event) => set({ description: event.currentTarget.value })}
        error={errors.description}
      />
    </Stack>
  );
}

interface ChoiceProps {
  label: string;
  hint: string;
  isError?: boolean;
  value: string;
  options: readonly (readonly [string, string])[];
  onChange: (value: string) => void;
}

function Choice({ label, hint, isError = false, value, options, onChange }: ChoiceProps) {
  return (
    <Input.Wrapper
      label={label}
      labelElement="div"
      description={isError ? undefined : hint}
      error={isError ? hint : undefined}
      inputWrapperOrder={["label", "input", "description", "error"]}
    >
      <SegmentedControl
        fullWidth
        mt={4}
        mb={4}
        aria-label={label}
        value={value}
        onChange={onChange}
        data={options.map(([option, shown]) => ({ value: option, label: shown }))}
      />
    </Input.Wrapper>
  );
}
