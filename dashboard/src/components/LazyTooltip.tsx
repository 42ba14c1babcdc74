import { Tooltip, type TooltipProps } from "@mantine/core";
import { cloneElement, type PointerEvent, type ReactElement, useState } from "react";

interface Props extends Omit<TooltipProps, "label" | "children"> {
  /** Called when the pointer comes, so that the text can contain the time since then. */
  label: () => string;
  children: ReactElement<{ onPointerEnter?: (event: PointerEvent) => void }>;
}

/** A tooltip that costs nothing until the pointer comes, for the rows of a list. Its child has no state to lose. */
export function LazyTooltip({ label, children, ...options }: Props) {
  const [pointer, setPointer] = useState<string>();
  if (pointer === undefined) {
    return cloneElement(children, { onPointerEnter: (event) => setPointer(event.pointerType) });
  }
  // A touch is over before the tooltip could notice it.
  const opened = pointer === "touch" && options.events?.touch === true;
  return (
    <Tooltip {...options} label={label()} defaultOpened={opened}>
      {children}
    </Tooltip>
  );
}
