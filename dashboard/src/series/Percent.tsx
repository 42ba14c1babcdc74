import { useNumbers } from "../i18n";
import classes from "./Percent.module.css";

const BAR_WIDTH = 64;

/** A percentage, rounded down by the API: 100 means all. */
export function Percent({ value, bar = false }: { value: number | null; bar?: boolean }) {
  const numbers = useNumbers();
  if (value === null) return <span className={classes.unknown}>–</span>;
  return (
    <span className={classes.percent} data-low={value < 100 || undefined}>
      {bar && (
        <svg width={BAR_WIDTH} height={6} aria-hidden="true">
          <rect className={classes.track} width={BAR_WIDTH} height={6} rx={3} />
          <rect className={classes.part} width={(BAR_WIDTH * value) / 100} height={6} rx={3} />
        </svg>
      )}
      {numbers.percent(value)}
    </span>
  );
}
