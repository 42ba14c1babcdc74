import { Tooltip, type TooltipProps } from "@mantine/core";
import { cloneElement, type PointerEvent, type ReactElement, useEffect, useRef, useState } from "react";

interface Props extends Omit<TooltipProps, "label" | "children"> {
  /** Called when the pointer comes, so that the text can contain the time since then. */
  label: () => string;
  children: ReactElement<{
    onPointerEnter?: (event: PointerEvent) => void;
    onPointerLeave?: (event: PointerEvent) => void;
  }>;
}

/** A tooltip that costs nothing until the pointer comes, for the rows of a list. Its child has no state to lose. */
export function LazyTooltip({ label, children, openDelay = 0, ...options }: Props) {
  const [isMade, setIsMade] = useState(false);
  const timer = useRef<number>(undefined);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  if (!isMade) {
    return cloneElement(children, {
      onPointerEnter: (event) => {
        const isTouch = event.pointerType === "touch";
        if (isTouch && options.events?.touch !== true) return;
        timer.current = window.setTimeout(() => setIsMade(true), isTouch ? 0 : openDelay);
      },
      onPointerLeave: (event) => {
        // A touch is over at once, and its tooltip shall open all the same.
        if (event.pointerType !== "touch") window.clearTimeout(timer.current);
      },
    });
  }
  // The pointer came before the tooltip existed, so it is open at first.
  return (
    <Tooltip {...options} openDelay={openDelay} label={label()} defaultOpened>
      {children}
    </Tooltip>
  );
}
