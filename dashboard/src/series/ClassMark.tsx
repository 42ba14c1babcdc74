import { IconCircleDashed, IconCircleMinus, IconCircleX } from "@tabler/icons-react";
import { useMessages } from "../i18n";
import classes from "./ClassMark.module.css";
import { kindOf } from "./classes";

const ICONS = { open: IconCircleDashed, lost: IconCircleX, harmless: IconCircleMinus } as const;

/** The class of a span without candles: a shape, a colour and words. */
export function ClassMark({ absenceClass }: { absenceClass: string }) {
  const { series: text } = useMessages();
  const kind = kindOf(absenceClass);
  const Icon = ICONS[kind];
  return (
    <span className={classes.mark} data-kind={kind}>
      <Icon size={15} stroke={2} aria-hidden />
      {text.classes[absenceClass] ?? absenceClass}
    </span>
  );
}
