import { IconPlayerPause, IconPlayerPlay, IconX } from "@tabler/icons-react";
import { useState } from "react";
import { answered } from "../api/answered";
import { isProblem } from "../api/problem";
import { Confirm } from "../components/Confirm";
import { notifyDone, notifyFailed } from "../components/notify";
import { RoleButton } from "../components/RoleButton";
import { useMessages } from "../i18n";
import { type Action, type Backfill, useBackfillAction } from "./queries";

const CHANGED = 412;

/** Pause, resume and cancel. Cancelling is final, so it is confirmed. */
export function BackfillActions({ backfill, isWhole }: { backfill: Backfill; isWhole: boolean }) {
  const { backfills: text } = useMessages();
  const [asked, setAsked] = useState(false);
  const { mutateAsync, isPending } = useBackfillAction();
  const act = (action: Action) =>
    answered(mutateAsync({ backfill, action }), {
      onSuccess: () => notifyDone(text.done[action]),
      onError: (error) => notifyFailed(text.notDone, isProblem(error, CHANGED) ? text.changed : error),
      onSettled: () => setAsked(false),
    });
  if (backfill.state === "cancelled") return null;
  const paused = backfill.state === "paused";
  const Icon = paused ? IconPlayerPlay : IconPlayerPause;
  return (
    <>
      {!isWhole && (
        <RoleButton
          needs="operator"
          size="xs"
          variant="default"
          leftSection={<Icon size={15} aria-hidden />}
          loading={isPending && !asked}
          onClick={() => act(paused ? "resume" : "pause")}
        >
          {paused ? text.resume : text.pause}
        </RoleButton>
      )}
      <RoleButton
        needs="operator"
        size="xs"
        variant="default"
        leftSection={<IconX size={15} aria-hidden />}
        onClick={() => setAsked(true)}
      >
        {text.cancel}
      </RoleButton>
      <Confirm
        opened={asked}
        title={text.confirmCancel}
        cancel={text.keep}
        confirm={text.cancel}
        isPending={isPending}
        onConfirm={() => act("cancel")}
        onClose={() => setAsked(false)}
      >
        {text.confirmCancelText}
      </Confirm>
    </>
  );
}
