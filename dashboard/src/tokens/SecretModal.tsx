import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useState } from "react";
import { useMessages } from "../i18n";
import classes from "./Tokens.module.css";

/** The secret of a new token. It is only here: when the dialog closes, nothing has it any more. */
export function SecretModal({ secret, onClose }: { secret: string | null; onClose: () => void }) {
  const { tokens: text, runs } = useMessages();
  const [copied, setCopied] = useState(false);
  const close = () => {
    setCopied(false);
    onClose();
  };
  return (
    <Modal
      opened={secret !== null}
      onClose={close}
      title={text.secretTitle}
      centered
      closeOnClickOutside={false}
      closeOnEscape={false}
      withCloseButton={false}
    >
      <Stack gap="md">
        <Text size="sm">{text.secretText}</Text>
        <code className={classes.secret}>{secret}</code>
        <Group justify="flex-end">
          {navigator.clipboard !== undefined && (
            <Button
              variant="default"
              leftSection={copied ? <IconCheck size={15} aria-hidden /> : <IconCopy size={15} aria-hidden />}
              onClick={() => void navigator.clipboard.writeText(secret ?? "").then(() => setCopied(true))}
            >
              {copied ? runs.copied : runs.copy}
            </Button>
          )}
          <Button onClick={close} data-autofocus>
            {text.stored}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
