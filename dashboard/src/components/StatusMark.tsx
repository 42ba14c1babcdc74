import { IconCircleCheck, IconCircleDashed, IconCircleMinus, IconCircleX } from "@tabler/icons-react";
import type { Run } from "../api/client";
import { useMessages } from "../i18n";
import classes from "./StatusMark.module.css";

const ICONS = {
  success: IconCircleCheck,
  failed: IconCircleX,
  running: IconCircleDashed,
  skipped: IconCircleMinus,
} as const;

/** The status of a run: shape, colour and word, so that it is never shown by colour alone. */
export function StatusMark({ status, soft = false }: { status: Run["status"]; soft?: boolean }) {
  const { status: words } = useMessages();
  const Icon = ICONS[status];
  return (
    <span className={classes.mark} data-status={status} data-soft={soft || undefined}>
      <Icon size={16} stroke={2} aria-hidden />
      {words[status]}
    </span>
  );
}
