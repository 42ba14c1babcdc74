import { Alert, Skeleton, Text, Tooltip } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconCircleX, IconHelpCircle, IconRefresh } from "@tabler/icons-react";
import type { Schemas } from "../api/client";
import { spanText, useNow } from "../app/time";
import { ErrorState } from "../components/states";
import { useMessages, useNumbers } from "../i18n";
import { useNextLosses, useServices } from "./health";
import classes from "./Services.module.css";

type State = Schemas["ServiceState"]["state"];

const ICONS: Record<State, typeof IconCircleX> = {
  working: IconCircleCheck,
  rebalancing: IconRefresh,
  stopped: IconCircleX,
  unknown: IconHelpCircle,
};

/** Whether each service works, how far it is behind, and the next loss of history. */
export function Services() {
  const { health: text } = useMessages();
  const services = useServices();
  return (
    <>
      <h2 className={classes.heading}>{text.services}</h2>
      {services.error !== null ? (
        <ErrorState error={services.error} onRetry={() => void services.refetch()} />
      ) : services.data === undefined ? (
        <Skeleton height={64} radius="md" />
      ) : (
        <ul className={classes.services}>
          {services.data.map((each) => (
            <Service key={each.service} service={each} />
          ))}
        </ul>
      )}
      <Losses />
    </>
  );
}

function Service({ service }: { service: Schemas["ServiceState"] }) {
  const { health: text } = useMessages();
  const numbers = useNumbers();
  const Icon = ICONS[service.state];
  const lag = service.lag === null ? "–" : service.lag === 0 ? text.upToDate : text.waiting(service.lag);
  return (
    <li className={classes.service}>
      <div className={classes.line}>
        <strong>{service.service}</strong>
        <Tooltip
          label={service.detail ?? text.instances(service.instances ?? 0)}
          disabled={service.detail === null && service.instances === null}
          multiline
        >
          <span className={classes.state} data-state={service.state}>
            <Icon size={15} aria-hidden /> {text.state[service.state]}
            {service.instances !== null && service.instances > 1 && ` · ${numbers.whole(service.instances)}`}
          </span>
        </Tooltip>
      </div>
      <div className={classes.line}>
        <span className={classes.under}>{text.service[service.service]}</span>
        <span className={classes.under}>{lag}</span>
      </div>
    </li>
  );
}

/** What an exchange stops offering next. It is a risk only if too few scheduled runs are left before. */
function Losses() {
  const { health: text, time } = useMessages();
  const now = useNow();
  const losses = useNextLosses();
  const [next] = losses.data ?? [];
  if (losses.data === undefined) return null;
  const risky = losses.data.filter((loss) => loss.at_risk);
  if (risky.length > 0) {
    return (
      <Alert
        mt="sm"
        color="red"
        variant="outline"
        role="alert"
        title={text.risk}
        icon={<IconAlertTriangle aria-hidden />}
      >
        {risky.map((loss) => (
          <Text key={`${loss.exchange} ${loss.symbol} ${loss.timeframe}`} size="sm">
            {`${loss.exchange} ${loss.symbol} ${loss.timeframe}: ${loss.text}`}
          </Text>
        ))}
      </Alert>
    );
  }
  const left = next === undefined ? 0 : Date.parse(next.lost_at) - now;
  const when = left > 0 ? time.in(spanText(left)) : time.now;
  return (
    <p className={classes.loss}>
      {text.noRisk}
      {next !== undefined && ` ${text.nextLimit(`${next.exchange} ${next.symbol} ${next.timeframe}`, when)}.`}
    </p>
  );
}
