import { Link } from "@tanstack/react-router";
import { durationText } from "../app/time";
import type { RunMark } from "../configs/queries";
import { useLanguage } from "../i18n";
import classes from "./RunStrip.module.css";

const COLUMNS = 20;
const STEP = 7;
const BAR = 5;
const HEIGHT = 26;
const LEAST = 5;

/**
 * The last runs of a config, the oldest at the left. The height is the duration, and the outcome has a shape besides its
 * colour: a failed run has a cross above its bar, a skipped run is an outline, and a running one is hatched.
 */
export function RunStrip({ runs, align = "right" }: { runs: readonly RunMark[]; align?: "left" | "right" }) {
  const { messages, language } = useLanguage();
  const longest = Math.max(...runs.map((run) => run.duration_seconds ?? 0), 0.001);
  const counts = (["success", "failed", "running", "skipped"] as const)
    .map((status) => [messages.status[status], runs.filter((run) => run.status === status).length] as const)
    .filter(([, count]) => count > 0)
    .map(([word, count]) => `${count} ${word.toLowerCase()}`)
    .join(", ");
  const label = messages.configs.stripLabel(counts || messages.configs.noRuns);
  const shift = align === "right" ? COLUMNS - runs.length : 0;
  const last = runs.at(-1);
  return (
    <span className={classes.strip}>
      <svg width={COLUMNS * STEP} height={HEIGHT} role="img" aria-label={label}>
        {runs.map((run, index) => (
          <Bar
            key={run.id}
            run={run}
            x={(shift + index) * STEP}
            share={run.duration_seconds === null ? 1 : run.duration_seconds / longest}
            title={`${messages.status[run.status]} · ${run.duration_seconds === null ? "…" : durationText(run.duration_seconds, language)}`}
          />
        ))}
      </svg>
      {last !== undefined && (
        <Link
          to="/runs/$logId"
          params={{ logId: String(last.id) }}
          className={classes.cover}
          tabIndex={-1}
          aria-hidden
        />
      )}
    </span>
  );
}

function Bar({ run, x, share, title }: { run: RunMark; x: number; share: number; title: string }) {
  const top = run.status === "failed" ? 7 : 0;
  const height = Math.max(LEAST, Math.round(share * (HEIGHT - 7)));
  const y = HEIGHT - height;
  const cross = Math.max(top - 6, y - 6);
  return (
    <g className={classes.bar} data-status={run.status}>
      <title>{title}</title>
      <rect x={x + 0.5} y={y + 0.5} width={BAR - 1} height={height - 1} rx={1} />
      {run.status === "failed" && <path d={`M${x} ${cross}l${BAR} ${BAR}m0 ${-BAR}l${-BAR} ${BAR}`} />}
    </g>
  );
}
