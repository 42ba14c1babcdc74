import { Tooltip } from "@mantine/core";
import { useMessages } from "../i18n";
import classes from "./ConnectionState.module.css";
import { useLive } from "./LiveProvider";

/** Whether the page shows changes as they happen. */
export function ConnectionState() {
  const { state } = useLive();
  const { live } = useMessages();
  return (
    <Tooltip label={live[`${state}Hint`]} multiline w={240}>
      <output className={classes.state} data-state={state}>
        <span className={classes.dot} aria-hidden />
        {live[state]}
      </output>
    </Tooltip>
  );
}
