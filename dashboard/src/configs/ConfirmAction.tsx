import { Button, Group, Modal, Text } from "@mantine/core";
import { useEffect } from "react";
import { answered } from "../api/answered";
import { notifyDone, notifyFailed } from "../components/notify";
import { useMessages } from "../i18n";
import type { Row } from "./figures";
import { type Action, useConfigAction } from "./queries";

/** Actions that take something away are confirmed. The others happen at once. */
export function ConfirmAction({ asked, onClose }: { asked: { action: Action; row: Row } | null; onClose: () => void }) {
  const { configs: text } = useMessages();
  const { mutateAsync, isPending } = useConfigAction();
  const action = asked?.action;
  const needsAnswer = action === "disable" || action === "delete";
  const name = asked === null ? "" : `${asked.row.config.symbol} · ${asked.row.config.exchange}`;

  const act = () => {
    if (asked === null) return;
    const done = { trigger: text.triggered, enable: text.isEnabled, disable: text.isDisabled, delete: text.isDeleted };
    answered(mutateAsync({ action: asked.action, id: asked.row.config.id }), {
      onSuccess: () => notifyDone(done[asked.action](name)),
      onError: (error) => notifyFailed(text.failed(text[asked.action]), error),
      onSettled: onClose,
    });
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: it acts once per question.
  useEffect(() => {
    if (asked !== null && !needsAnswer) act();
  }, [asked]);

  return (
    <Modal
      opened={asked !== null && needsAnswer}
      onClose={onClose}
      title={action === "delete" ? text.confirmDelete(name) : text.confirmDisable(name)}
      centered
    >
      <Text size="sm">{action === "delete" ? text.confirmDeleteText : text.confirmDisableText}</Text>
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={onClose} data-autofocus>
          {text.cancel}
        </Button>
        <Button color="red" loading={isPending} onClick={act}>
          {action === "delete" ? text.delete : text.disable}
        </Button>
      </Group>
    </Modal>
  );
}
