import { useState } from "react";
import { ErrorState } from "../components/states";
import { useMessages } from "../i18n";
import { type Incident, type Span, useIncidents } from "./queries";
import classes from "./SeriesPage.module.css";
import type { SeriesName } from "./search";
import { timeText } from "./times";

/** The classes of spans in which the exchange may have been silent. */
const SILENT: ReadonlySet<string> = new Set(["unknown", "no_trade", "outage", "lost_at_source"]);

const MOST_DAYS = 1_100;
const DAY_MS = 86_400_000;

/** The API refuses a request for a longer time. */
function isTooLong(span: Span): boolean {
  return Date.parse(span.end) - Date.parse(span.start) > MOST_DAYS * DAY_MS;
}

/**
 * Whether all symbols of the exchange were silent in the span, and which other exchanges traded them. Read when a person
 * opens it: the request reads the ledgers of all series of the exchange.
 */
export function ExchangeSilence({ name, span }: { name: SeriesName; span: Span }) {
  const { series: text } = useMessages();
  const [opened, setOpened] = useState(false);
  if (!SILENT.has(span.absence_class) || isTooLong(span)) return null;
  return (
    <details className={classes.proof} onToggle={(event) => event.currentTarget.open && setOpened(true)}>
      <summary>{text.otherSymbols}</summary>
      {opened && <Incidents name={name} span={span} />}
    </details>
  );
}

function Incidents({ name, span }: { name: SeriesName; span: Span }) {
  const { series: text, states } = useMessages();
  const { data, error, refetch } = useIncidents(name, span);
  if (error !== null) return <ErrorState error={error} onRetry={() => void refetch()} />;
  if (data === undefined) return <p>{states.loading}</p>;
  return (
    <>
      {data.incidents.map((incident) => (
        <IncidentText key={incident.start} incident={incident} />
      ))}
      {data.more ? <p>{text.moreIncidents}</p> : data.incidents.length === 0 && <p>{text.noIncident}</p>}
    </>
  );
}

function IncidentText({ incident }: { incident: Incident }) {
  const { series: text } = useMessages();
  const time = (instant: string) => timeText(Date.parse(instant));
  const { other_exchanges: others, other_exchanges_truncated: truncated } = incident;
  return (
    <div>
      <p>{text.incident(time(incident.start), time(incident.end), incident.symbols)}</p>
      {others.length > 0 && (
        <ul>
          {others.map((each) => (
            <li key={each.exchange}>
              <b>{each.exchange}</b>:{" "}
              {text.otherExchange(each.symbols, each.candles, time(each.first_open_time), time(each.last_open_time))}
            </li>
          ))}
        </ul>
      )}
      <p>
        {others.length > 0 ? text.othersTraded : text.noOthers}
        {truncated && ` ${text.othersTruncated}`}
      </p>
    </div>
  );
}
