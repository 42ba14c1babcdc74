import {
  IconCircleCheck,
  IconCircleDashed,
  IconCircleMinus,
  IconCircleX,
  IconClock,
  IconPlayerPause,
} from "@tabler/icons-react";
import { ToneMark } from "../components/ToneMark";
import { useMessages } from "../i18n";
import classes from "./Backfills.module.css";
import type { Chunk } from "./queries";
import type { State } from "./search";

const STATES = {
  active: { tone: "running", icon: IconCircleDashed },
  paused: { tone: "skipped", icon: IconPlayerPause },
  cancelled: { tone: "skipped", icon: IconCircleMinus },
  whole: { tone: "success", icon: IconCircleCheck },
} as const;

/** The state of a backfill. One that has nothing left to do is whole, whatever its state. */
export function BackfillMark({ state, isWhole, soft = false }: { state: State; isWhole: boolean; soft?: boolean }) {
  const { backfills: text } = useMessages();
  const shown = isWhole && state !== "cancelled" ? "whole" : state;
  return (
    <ToneMark {...STATES[shown]} soft={soft}>
      {text.states[shown]}
    </ToneMark>
  );
}

const CHUNKS = {
  waiting: { tone: "skipped", icon: IconClock },
  requested: { tone: "running", icon: IconCircleDashed },
  failed: { tone: "failed", icon: IconCircleX },
  verified: { tone: "success", icon: IconCircleCheck },
  classified: { tone: "success", icon: IconCircleMinus },
  cancelled: { tone: "skipped", icon: IconCircleMinus },
} as const;

export function ChunkMark({ state }: { state: Chunk["state"] }) {
  const { backfills: text } = useMessages();
  return <ToneMark {...CHUNKS[state]}>{text.chunkStates[state]}</ToneMark>;
}

/** A bar from 0 to 100, with its number beside it. */
export function ProgressBar({ percent, label, shown }: { percent: number | null; label: string; shown: string }) {
  return (
    <div className={classes.progress}>
      <progress className={classes.bar} value={percent ?? 0} max={100} aria-label={label} />
      {shown !== "" && <span className={classes.percent}>{shown}</span>}
    </div>
  );
}
