import type { Icon } from "@tabler/icons-react";
import type { Run } from "../api/client";
import classes from "./StatusMark.module.css";

interface Props {
  /** The colour, as that of a run with this status. */
  tone: Run["status"];
  icon: Icon;
  children: string;
  soft?: boolean;
}

/** A state as shape, colour and word. */
export function ToneMark({ tone, icon: Shape, children, soft = false }: Props) {
  return (
    <span className={classes.mark} data-status={tone} data-soft={soft || undefined}>
      <Shape size={16} stroke={2} aria-hidden />
      {children}
    </span>
  );
}
