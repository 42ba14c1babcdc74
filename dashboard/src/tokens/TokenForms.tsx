import { Button, Group, Modal, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { answered } from "../api/answered";
import type { Role } from "../api/client";
import { isProblem } from "../api/problem";
import { ErrorState } from "../components/states";
import { fieldErrors } from "../configs/form";
import { useMessages } from "../i18n";
import { type Token, useTokenActions } from "./queries";

const INVALID = 422;
const ROLES = ["viewer", "operator", "admin"] as const;
const LIFETIMES = [30, 90, 365] as const;
const GRACES = [0, 60, 1440, 10_080] as const;

interface NewProps {
  opened: boolean;
  onClose: () => void;
  onIssued: (secret: string) => void;
}

export function NewTokenModal({ opened, onClose, onIssued }: NewProps) {
  const { tokens: text } = useMessages();
  return (
    <Modal opened={opened} onClose={onClose} title={text.create} centered>
      <NewTokenForm onClose={onClose} onIssued={onIssued} />
    </Modal>
  );
}

function NewTokenForm({ onClose, onIssued }: Omit<NewProps, "opened">) {
  const { tokens: text, settings } = useMessages();
  const { create } = useTokenActions();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [days, setDays] = useState("90");
  const errors = isProblem(create.error, INVALID) ? fieldErrors(create.error.fields) : {};
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const expires_in_days = days === "" ? null : Number(days);
    answered(create.mutateAsync({ name: name.trim(), role, expires_in_days }), {
      onSuccess: ({ token }) => onIssued(token),
    });
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        <TextInput
          label={text.name}
          description={text.nameHint}
          required
          data-autofocus
          autoComplete="off"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={errors.name}
        />
        <NativeSelect
          label={text.role}
          description={text.roleHint}
          value={role}
          onChange={(event) => setRole(event.currentTarget.value as Role)}
          data={ROLES.map((value) => ({ value, label: settings.role[value] }))}
        />
        <NativeSelect
          label={text.lifetime}
          description={text.lifetimeHint}
          value={days}
          onChange={(event) => setDays(event.currentTarget.value)}
          data={[
            ...LIFETIMES.map((value) => ({ value: String(value), label: text.days(value) })),
            { value: "", label: text.unlimited },
          ]}
        />
        {create.error !== null && Object.keys(errors).length === 0 && <ErrorState error={create.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {text.cancel}
          </Button>
          <Button type="submit" loading={create.isPending}>
            {text.create}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

interface RotateProps {
  token: Token | null;
  onClose: () => void;
  onIssued: (secret: string) => void;
}

/** Replaces a token. The old one may still work for a time, so that programs can be changed one by one. */
export function RotateModal({ token, onClose, onIssued }: RotateProps) {
  const { tokens: text } = useMessages();
  const { rotate } = useTokenActions();
  const [grace, setGrace] = useState("60");
  return (
    <Modal opened={token !== null} onClose={onClose} title={text.confirmRotate(token?.name ?? "")} centered>
      <Stack gap="md">
        <Text size="sm">{text.confirmRotateText}</Text>
        <NativeSelect
          label={text.grace}
          value={grace}
          onChange={(event) => setGrace(event.currentTarget.value)}
          data={GRACES.map((value) => ({ value: String(value), label: text.graces[value] }))}
        />
        {rotate.error !== null && <ErrorState error={rotate.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            {text.cancel}
          </Button>
          <Button
            loading={rotate.isPending}
            onClick={() =>
              token !== null &&
              answered(rotate.mutateAsync({ id: token.id, graceMinutes: Number(grace) }), {
                onSuccess: (issued) => onIssued(issued.token),
              })
            }
          >
            {text.rotate}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
