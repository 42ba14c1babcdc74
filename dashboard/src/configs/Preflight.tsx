import { Alert, List, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconAlertTriangle, IconInfoCircle } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { api, BASE, bodyOf } from "../api/client";
import { isProblem } from "../api/problem";
import { useMessages, useNumbers } from "../i18n";
import { useCan } from "../sessions/session";
import { bodyOfForm, type FormValues, isComplete } from "./form";

const TYPING_MS = 500;

/** What the API says about the config while a person types: its cost and its risks. `id`: the config to change. */
export function Preflight({ values, id }: { values: FormValues; id: number | undefined }) {
  const { form: text } = useMessages();
  const numbers = useNumbers();
  const allowed = useCan("operator");
  const [settled] = useDebouncedValue(values, TYPING_MS);
  const check = useQuery({
    queryKey: ["preflight", id, bodyOfForm(settled)],
    queryFn: async () => {
      const query = id === undefined ? {} : { config_id: id };
      return bodyOf(await api.POST(`${BASE}/configs/preflight`, { params: { query }, body: bodyOfForm(settled) }));
    },
    enabled: allowed && isComplete(settled),
    retry: false,
  });
  if (!allowed || !isComplete(settled)) return null;
  if (check.isPending) return <Text size="sm" c="dimmed">{`${text.checking} …`}</Text>;
  if (check.error !== null) {
    return (
      <Alert color="red" variant="outline" icon={<IconAlertTriangle aria-hidden />} role="status">
        {isProblem(check.error) ? check.error.detail : String(check.error)}
      </Alert>
    );
  }
  const { warnings, requests_per_minute: rate } = check.data;
  return (
    <Alert
      color={warnings.length > 0 ? "yellow" : "night"}
      variant="outline"
      title={text.checkTitle}
      icon={warnings.length > 0 ? <IconAlertTriangle aria-hidden /> : <IconInfoCircle aria-hidden />}
      role="status"
    >
      <Text size="sm">{text.rate(numbers.short(rate))}</Text>
      {warnings.length > 0 && (
        <List size="sm" mt={6} spacing={4}>
          {warnings.map((each) => (
            <List.Item key={each}>{each}</List.Item>
          ))}
        </List>
      )}
    </Alert>
  );
}
