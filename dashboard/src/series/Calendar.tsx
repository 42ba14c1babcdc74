import { memo, useLayoutEffect, useRef } from "react";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import classes from "./Calendar.module.css";
import type { Completeness } from "./queries";

const CELL = 13;
const STEP = 16;
const LEFT = 34;
const TOP = 20;
const DAY_MS = 86_400_000;
const LISTED = 8;

type Day = NonNullable<Completeness["days"]>[number];
type Level = "whole" | "answered" | "partial" | "poor";

interface Props {
  start: string;
  days: readonly Day[];
  onDay: (day: string) => void;
}

/** `whole`: nothing is missing. `answered`: what is missing cannot be had. Otherwise something can be repaired. */
function levelOf(day: Day): Level {
  if (day.whole_periods === day.closed_periods) return "whole";
  if (day.answered_periods === day.closed_periods) return "answered";
  return day.answered < 0.9 ? "poor" : "partial";
}

/**
 * The days of a year as squares, a column per week. Incomplete days are listed below, for the keyboard. It
 * does not render again while the chart moves.
 */
export const Calendar = memo(function Calendar({ start, days, onDay }: Props) {
  const { series: text } = useMessages();
  const { language } = useLanguage();
  const numbers = useNumbers();
  const scroll = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    // The newest days are at the right; a narrow screen begins with them.
    scroll.current?.scrollTo({ left: scroll.current.scrollWidth });
  }, []);
  const first = Date.parse(start);
  const shift = (new Date(first).getUTCDay() + 6) % 7;
  const place = (day: string) => {
    const index = Math.round((Date.parse(day) - first) / DAY_MS) + shift;
    return { x: LEFT + Math.floor(index / 7) * STEP, y: TOP + (index % 7) * STEP };
  };
  const incomplete = days.filter((day) => levelOf(day) !== "whole").reverse();
  const share = (day: Day) => numbers.percent(Math.floor(day.whole * 10_000) / 100);
  const weekday = new Intl.DateTimeFormat(language, { weekday: "short", timeZone: "UTC" });
  const month = new Intl.DateTimeFormat(language, { month: "short", timeZone: "UTC" });
  const months = Array.from({ length: 13 }, (_, index) => {
    const date = new Date(first);
    return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + index + 1, 1));
  }).filter((date) => date.getTime() < Date.now());
  return (
    <div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard. */}
      <section ref={scroll} className={classes.scroll} tabIndex={0} aria-label={text.calendar}>
        <svg
          width={LEFT + 53 * STEP}
          height={TOP + 7 * STEP}
          role="img"
          aria-label={text.calendarLabel(incomplete.length)}
        >
          {[0, 2, 4].map((row) => (
            <text key={row} x={0} y={TOP + row * STEP + 11} className={classes.label}>
              {weekday.format(new Date((4 + row) * DAY_MS))}
            </text>
          ))}
          {months.map((date) => (
            <text key={date.getTime()} x={place(date.toISOString()).x} y={12} className={classes.label}>
              {month.format(date)}
            </text>
          ))}
          {days.map((day) => {
            const { x, y } = place(day.day);
            const level = levelOf(day);
            return (
              <g key={day.day} className={classes.day} data-level={level}>
                <title>{`${day.day} · ${share(day)} ${text.wholeWord}`}</title>
                <rect x={x} y={y} width={CELL} height={CELL} rx={3} />
                {level !== "whole" && <path d={`M${x + 3} ${y + CELL - 3}L${x + CELL - 3} ${y + 3}`} />}
              </g>
            );
          })}
        </svg>
      </section>
      <div className={classes.key}>
        {(["whole", "answered", "partial", "poor"] as const).map((level) => (
          <span key={level} className={classes.item}>
            <svg width={CELL} height={CELL} aria-hidden="true" className={classes.day} data-level={level}>
              <rect width={CELL} height={CELL} rx={3} />
              {level !== "whole" && <path d={`M3 ${CELL - 3}L${CELL - 3} 3`} />}
            </svg>
            {text.levels[level]}
          </span>
        ))}
      </div>
      {incomplete.length > 0 && (
        <ul className={classes.days}>
          {incomplete.slice(0, LISTED).map((day) => (
            <li key={day.day}>
              <button type="button" className={classes.button} onClick={() => onDay(day.day)}>
                {day.day} · {share(day)}
              </button>
            </li>
          ))}
          {incomplete.length > LISTED && <li className={classes.more}>{text.moreDays(incomplete.length - LISTED)}</li>}
        </ul>
      )}
    </div>
  );
});
