import type { RunMark } from "../configs/queries";
import { useLanguage } from "../i18n";
import { runPath, useOpenRun } from "../runs/openRun";
import classes from "./RunStrip.module.css";

const COLUMNS = 20;
const STEP = 7;
const BAR = 5;
const HEIGHT = 26;
const LEAST = 5;
const STATUSES = ["success", "failed", "running", "skipped"] as const;

/**
 * The last runs of a config, the oldest at the left. The height is the duration, and the outcome has a shape besides its
 * colour: a failed run has a cross above its bar, a skipped run is an outline, and a running one is hatched. All bars of
 * an outcome are one path, because a list of configs has hundreds of them.
 */
export function RunStrip({ runs, align = "right" }: { runs: readonly RunMark[]; align?: "left" | "right" }) {
  const { messages } = useLanguage();
  const open = useOpenRun();
  const longest = Math.max(...runs.map((run) => run.duration_seconds ?? 0), 0.001);
  const shift = align === "right" ? COLUMNS - runs.length : 0;
  const bars = runs.map((run, index) => {
    const share = run.duration_seconds === null ? 1 : run.duration_seconds / longest;
    const height = Math.max(LEAST, Math.round(share * (HEIGHT - 7)));
    return { status: run.status, x: (shift + index) * STEP, height };
  });
  const groups = STATUSES.map((status) => ({ status, bars: bars.filter((bar) => bar.status === status) })).filter(
    (group) => group.bars.length > 0,
  );
  const counts = groups
    .map((group) => `${group.bars.length} ${messages.status[group.status].toLowerCase()}`)
    .join(", ");
  const last = runs.at(-1);
  return (
    <span className={classes.strip}>
      <svg
        width={COLUMNS * STEP}
        height={HEIGHT}
        role="img"
        aria-label={messages.configs.stripLabel(counts || messages.configs.noRuns)}
      >
        {groups.map((group) => (
          <path
            key={group.status}
            className={classes.bars}
            data-status={group.status}
            d={group.bars.map((bar) => barPath(bar.x, bar.height)).join("")}
          />
        ))}
        {groups.map(
          (group) =>
            group.status === "failed" && (
              <path
                key={group.status}
                className={classes.crosses}
                d={group.bars.map((bar) => crossPath(bar.x, bar.height)).join("")}
              />
            ),
        )}
      </svg>
      {last !== undefined && (
        // biome-ignore lint/a11y/useAnchorContent: the pointer's way only; the row has a link for the keyboard.
        <a
          href={runPath(last.id)}
          className={classes.cover}
          tabIndex={-1}
          aria-hidden
          onClick={(event) => open(event, last.id)}
        />
      )}
    </span>
  );
}

const barPath = (x: number, height: number) =>
  `M${x + 0.5} ${HEIGHT - height + 0.5}h${BAR - 1}v${height - 1}h${1 - BAR}z`;

/** Above the bar. */
const crossPath = (x: number, height: number) =>
  `M${x} ${Math.max(1, HEIGHT - height - 6)}l${BAR} ${BAR}m0 ${-BAR}l${-BAR} ${BAR}`;
