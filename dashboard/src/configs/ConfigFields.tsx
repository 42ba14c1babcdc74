import { Chip, Group, Input, NumberInput, Select, Stack, Switch, Text, TextInput } from "@mantine/core";
import { useEffect } from "react";
import type { ExchangeDetails } from "../api/client";
import { useAllowedExchanges, useExchange } from "../exchanges/queries";
import { useMessages } from "../i18n";
import type { FormValues } from "./form";

const LONGEST_MINUTES = 10_080;

interface Props {
  values: FormValues;
  errors: Partial<Record<string, string>>;
  isNew: boolean;
  onChange: (values: FormValues) => void;
}

/** The fields of a config. Timeframes are those that the exchange offers. */
export function ConfigFields({ values, errors, isNew, onChange }: Props) {
  const { form: text } = useMessages();
  const exchanges = useAllowedExchanges();
  const exchange = useExchange(values.exchange || null).data;
  const set = (changes: Partial<FormValues>) => onChange({ ...values, ...changes });
  // biome-ignore lint/correctness/useExhaustiveDependencies: only another exchange changes what is offered.
  useEffect(() => {
    const offered = values.timeframes.filter((each) => exchange?.timeframes.includes(each));
    if (isNew && exchange !== undefined && offered.length < values.timeframes.length) set({ timeframes: offered });
  }, [exchange]);

  return (
    <Stack gap="md">
      <Select
        label={text.exchange}
        description={text.exchangeHint}
        searchable
        required
        withScrollArea={false}
        styles={{ options: { overflowY: "auto", maxHeight: 220 } }}
        data-autofocus={isNew}
        data={exchanges.data?.map(({ id, name }) => ({ value: id, label: name })) ?? []}
        value={values.exchange || null}
        onChange={(value) => set({ exchange: value ?? "" })}
        error={errors.exchange}
      />
      {exchange !== undefined && <Traits exchange={exchange} />}
      <TextInput
        label={text.symbol}
        description={text.symbolHint}
        required
        autoComplete="off"
        spellCheck={false}
        value={values.symbol}
        onChange={(event) => set({ symbol: event.currentTarget.value })}
        error={errors.symbol}
      />
      <Input.Wrapper
        label={text.timeframes}
        description={exchange === undefined ? text.timeframesFirst : text.timeframesHint(exchange.name)}
        required
        labelElement="div"
        error={errors.timeframes}
      >
        <Chip.Group multiple value={values.timeframes} onChange={(timeframes) => set({ timeframes })}>
          <Group gap={6} mt={6} role="group" aria-label={text.timeframes}>
            {(exchange?.timeframes ?? values.timeframes).map((each) => (
              <Chip key={each} value={each} size="xs">
                {each}
              </Chip>
            ))}
          </Group>
        </Chip.Group>
      </Input.Wrapper>
      <NumberInput
        label={text.interval}
        description={text.intervalHint}
        required
        min={1}
        max={LONGEST_MINUTES}
        allowDecimal={false}
        value={values.interval_minutes}
        onChange={(value) => set({ interval_minutes: value })}
        error={errors.interval_minutes}
      />
      <TextInput
        label={text.startDate}
        description={text.startDateHint}
        placeholder="2024-01-01"
        value={values.start_date}
        onChange={(event) => set({ start_date: event.currentTarget.value })}
        error={errors.start_date}
      />
      <TextInput
        label={text.description}
        value={values.description}
        onChange={(event) => set({ description: event.currentTarget.value })}
        error={errors.description}
      />
      <Switch
        label={text.enabled}
        checked={values.enabled}
        onChange={(event) => set({ enabled: event.currentTarget.checked })}
      />
    </Stack>
  );
}

/** What is known about an exchange and matters for a config. */
function Traits({ exchange }: { exchange: ExchangeDetails }) {
  const { form: text } = useMessages();
  const facts = [
    exchange.page_limit !== null && text.pageLimit(exchange.page_limit),
    exchange.history_candles !== null && text.keepsNewest(exchange.history_candles),
    exchange.fills_silence === true && text.fillsSilence,
  ].filter((each) => each !== false);
  return (
    <Text size="xs" c="dimmed" mt={-8}>
      {facts.join(" ")}
    </Text>
  );
}
