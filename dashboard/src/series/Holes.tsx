import { Button, Table, Tooltip } from "@mantine/core";
import { IconBandage } from "@tabler/icons-react";
import { memo, useState } from "react";
import { answered } from "../api/answered";
import { notifyDone, notifyFailed } from "../components/notify";
import { useMessages, useNumbers } from "../i18n";
import { useCan, useSession } from "../sessions/session";
import { ClassMark } from "./ClassMark";
import { kindOf } from "./classes";
import { ExchangeSilence } from "./ExchangeSilence";
import { type Span, useFill } from "./queries";
import classes from "./SeriesPage.module.css";
import type { SeriesName } from "./search";
import { timeText } from "./times";
import type { Window } from "./windows";

/** More rows at once would be a noticeable pause. */
const SHOWN = 25;

interface Props {
  name: SeriesName;
  spans: readonly Span[];
  truncated: boolean;
  onShow: (span: Window) => void;
}

/**
 * The spans without candles, the newest first: why, with which evidence, and what is done about it. They do not render
 * again while the chart moves.
 */
export const Holes = memo(function Holes({ name, spans, truncated, onShow }: Props) {
  const { series: text } = useMessages();
  const [count, setCount] = useState(SHOWN);
  if (spans.length === 0) return <p className={classes.nothing}>{text.noHoles}</p>;
  const newest = [...spans].reverse().slice(0, count);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard.
    <section className={classes.table} tabIndex={0} aria-label={text.holes}>
      <Table verticalSpacing="xs" horizontalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            {[text.from, text.until, text.periods, text.reason, text.evidence, text.repair].map((title) => (
              <Table.Th key={title}>{title}</Table.Th>
            ))}
            <Table.Th>
              <span className="visually-hidden">{text.action}</span>
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {newest.map((span) => (
            <HoleRow key={span.start} name={name} span={span} onShow={onShow} />
          ))}
        </Table.Tbody>
      </Table>
      {spans.length > count ? (
        <p className={classes.more}>
          <Button size="compact-sm" variant="default" onClick={() => setCount(count + SHOWN)}>
            {text.showMoreHoles}
          </Button>
        </p>
      ) : (
        truncated && <p className={classes.more}>{text.moreHoles(spans.length)}</p>
      )}
    </section>
  );
});

function HoleRow({ name, span, onShow }: { name: SeriesName; span: Span; onShow: Props["onShow"] }) {
  const { series: text } = useMessages();
  const numbers = useNumbers();
  const [from, to] = [Date.parse(span.start), Date.parse(span.end)];
  const { repair } = span;
  return (
    <Table.Tr>
      <Table.Td className={classes.time}>
        <button type="button" className={classes.show} onClick={() => onShow({ from, to })} title={text.showInChart}>
          {timeText(from)}
        </button>
      </Table.Td>
      <Table.Td className={classes.time}>{timeText(to)}</Table.Td>
      <Table.Td>{numbers.whole(span.periods)}</Table.Td>
      <Table.Td>
        <ClassMark absenceClass={span.absence_class} />
      </Table.Td>
      <Table.Td className={`${classes.words} ${classes.wide}`}>
        {span.evidence ?? text.noEvidence}
        {span.level > 0 && ` · ${text.level(span.level)}`}
        {typeof span.last_checked === "string" && ` · ${text.checkedAt(timeText(Date.parse(span.last_checked)))}`}
        {typeof span.recheck_at === "string" && ` · ${text.recheckAt(timeText(Date.parse(span.recheck_at)))}`}
        <ProofOf span={span} />
        <ExchangeSilence name={name} span={span} />
      </Table.Td>
      <Table.Td className={classes.words}>
        {repair ? (repair.reason ?? text.repairState[repair.state] ?? repair.state) : "–"}
      </Table.Td>
      <Table.Td>
        {kindOf(span.absence_class) === "open" ? (
          <FillButton name={name} span={span} />
        ) : (
          <span className={classes.final} title={text.cannotFill}>
            {text.final}
          </span>
        )}
      </Table.Td>
    </Table.Tr>
  );
}

/** The requests and answers behind a class. The API passes them on as they were stored, so each field is checked. */
function ProofOf({ span }: { span: Span }) {
  const { series: text } = useMessages();
  const proof = span.proof ?? [];
  if (proof.length === 0) return null;
  const shown = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value ?? null));
  return (
    <details className={classes.proof}>
      <summary>{text.proof(proof.length)}</summary>
      <ul>
        {proof.map((each) => (
          <li key={JSON.stringify(each)}>
            <b>{shown(each.kind)}</b>: {shown(each.asked)} → {shown(each.answered)}
            {typeof each.at === "string" && ` (${timeText(Date.parse(each.at))})`}
          </li>
        ))}
      </ul>
    </details>
  );
}

/** Orders a backfill of the span. */
export function FillButton({ name, span }: { name: SeriesName; span: Span }) {
  const { series: text, states, settings } = useMessages();
  const { me } = useSession();
  const allowed = useCan("operator");
  const fill = useFill(name);
  const reason = allowed ? null : states.needsRole(settings.role.operator, settings.role[me.role]);
  const act = () =>
    answered(fill.mutateAsync({ span, description: text.fillDescription }), {
      onSuccess: (backfill) => notifyDone(text.filling(backfill.id)),
      onError: (error) => notifyFailed(text.notFilled, error),
    });
  const button = (
    <Button
      size="compact-sm"
      variant="default"
      leftSection={<IconBandage size={14} aria-hidden />}
      data-disabled={reason !== null}
      aria-disabled={reason !== null}
      loading={fill.isPending}
      onClick={() => reason === null && act()}
    >
      {text.fill}
    </Button>
  );
  if (reason === null) return button;
  return (
    <Tooltip label={reason} multiline w={240}>
      {button}
    </Tooltip>
  );
}
