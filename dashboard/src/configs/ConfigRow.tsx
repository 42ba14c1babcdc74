import { ActionIcon, Menu } from "@mantine/core";
import {
  IconArrowRight,
  IconDotsVertical,
  IconHistory,
  IconPencil,
  IconPlayerPause,
  IconPlayerPlay,
  IconPower,
  IconTrash,
} from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, memo, useEffect, useState } from "react";
import type { Role } from "../api/client";
import { shortcutOf } from "../app/keyboard/shortcuts";
import { absoluteTime, durationText, spanText, useNow, useTimeStyle } from "../app/time";
import { LazyTooltip } from "../components/LazyTooltip";
import { RowCheckbox } from "../components/RowCheckbox";
import { RunStrip } from "../components/RunStrip";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import { useCan, useSession } from "../sessions/session";
import classes from "./ConfigTable.module.css";
import type { Row } from "./figures";
import type { Action } from "./queries";

const GOOD_SUCCESS = 95;
const SHOWN_TIMEFRAMES = 6;

interface CellsProps {
  row: Row;
  selected: boolean;
  onSelect: (id: number) => void;
  onEdit: (id: number) => void;
  onAsk: (action: Action, row: Row) => void;
}

interface RowProps extends CellsProps {
  index: number;
  offset: number;
  height: number;
}

/** Renders again only if its own properties have changed: scrolling renders only the rows that come into view. */
export const ConfigRow = memo(function ConfigRow({ index, offset, height, ...cells }: RowProps) {
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      className={`${classes.columns} ${classes.row}`}
      data-disabled={!cells.row.config.enabled || undefined}
      data-selected={cells.selected || undefined}
      style={{ height, transform: `translateY(${offset}px)` }}
    >
      <Cells {...cells} />
    </div>
  );
});

function Cells({ row, selected, onSelect, onEdit, onAsk }: CellsProps) {
  const { configs: text, bulk } = useMessages();
  const mayTrigger = useCan("operator");
  const { language } = useLanguage();
  const numbers = useNumbers();
  const { config } = row;
  const more = config.timeframes.length - SHOWN_TIMEFRAMES;
  const onKeyDown = (event: KeyboardEvent) => {
    const key = shortcutOf(event.nativeEvent);
    if (key === "t" && mayTrigger) onAsk("trigger", row);
    else if (key === "x") onSelect(config.id);
  };
  return (
    <>
      <div role="cell" className={classes.select}>
        <RowCheckbox
          label={bulk.select(`${config.symbol} ${config.exchange}`)}
          checked={selected}
          onChange={() => onSelect(config.id)}
        />
      </div>
      <div role="cell" className={classes.name}>
        <button
          type="button"
          className={classes.symbol}
          data-row-link
          onKeyDown={onKeyDown}
          onClick={() => onEdit(config.id)}
        >
          {config.symbol}
        </button>
        <span className={classes.under}>
          {config.exchange} · {text.everyMinutes(config.interval_minutes)}
        </span>
      </div>
      <div role="cell" className={classes.timeframes} title={config.timeframes.join(", ")}>
        {config.timeframes.slice(0, SHOWN_TIMEFRAMES).map((each) => (
          <span key={each} className={classes.timeframe}>
            {each}
          </span>
        ))}
        {more > 0 && <span className={classes.under}>+{more}</span>}
      </div>
      <div role="cell" className={classes.strip}>
        <RunStrip runs={row.runs} />
      </div>
      <Figure label={text.successRate} low={row.success !== null && row.success < GOOD_SUCCESS}>
        {row.success === null ? "–" : `${numbers.whole(Math.floor(row.success))} %`}
      </Figure>
      <Figure label={text.p95}>{row.p95 === null ? "–" : durationText(row.p95, language)}</Figure>
      <Figure label={text.records}>{row.records === null ? "–" : numbers.whole(row.records)}</Figure>
      <Figure label={text.whole} low={row.whole !== null && row.whole < 100}>
        {row.whole === null ? "–" : numbers.percent(row.whole)}
      </Figure>
      <div role="cell" className={classes.next}>
        {config.enabled ? <NextRun at={row.nextRunAt} /> : <span className={classes.paused}>{text.paused}</span>}
      </div>
      <div role="cell" className={classes.actions}>
        <ActionsMenu row={row} onEdit={onEdit} onAsk={(action) => onAsk(action, row)} />
      </div>
    </>
  );
}

function Figure({ label, low = false, children }: { label: string; low?: boolean; children: string }) {
  return (
    <div role="cell" className={classes.figure} data-label={label} data-low={low || undefined}>
      {children}
    </div>
  );
}

const OVERDUE_AFTER_MS = 5000;

/** A countdown to the next run. The tooltip has the time. */
function NextRun({ at }: { at: string | null }) {
  const now = useNow();
  const { time } = useMessages();
  const { style } = useTimeStyle();
  if (at === null) return <span className={classes.under}>–</span>;
  const left = Date.parse(at) - now;
  const overdue = left < -OVERDUE_AFTER_MS;
  return (
    <LazyTooltip label={() => absoluteTime(at, style)}>
      <time dateTime={at} className={overdue ? classes.overdue : undefined}>
        {overdue ? time.overdue(spanText(-left)) : left < 1000 ? time.now : time.in(spanText(left))}
      </time>
    </LazyTooltip>
  );
}

interface MenuProps {
  row: Row;
  onEdit: (id: number) => void;
  onAsk: (action: Action) => void;
}

/** Only the button, until it is used: a menu per row would make scrolling slow. */
function ActionsMenu(props: MenuProps) {
  const { configs: text } = useMessages();
  const [used, setUsed] = useState(false);
  const { config } = props.row;
  const label = text.actionsOf(`${config.symbol} ${config.exchange}`);
  if (used) return <FullMenu {...props} label={label} />;
  return (
    <button
      type="button"
      className={classes.dots}
      aria-label={label}
      aria-haspopup="menu"
      aria-expanded={false}
      onClick={() => setUsed(true)}
    >
      <IconDotsVertical size={18} aria-hidden />
    </button>
  );
}

/** Opens at once. Its button takes the focus of the one that it replaces, and gets it back when the menu closes. */
function FullMenu({ row, onEdit, onAsk, label }: MenuProps & { label: string }) {
  const [opened, setOpened] = useState(false);
  useEffect(() => setOpened(true), []);
  const { configs: text, configPage, runs, states, settings } = useMessages();
  const { me } = useSession();
  const navigate = useNavigate();
  const may: Record<Role, boolean> = { viewer: true, operator: useCan("operator"), admin: useCan("admin") };
  const { config } = row;
  const item = (role: Role, label: string, Icon: typeof IconPencil, act: () => void, isDangerous = false) => (
    <Menu.Item
      leftSection={<Icon size={16} aria-hidden />}
      disabled={!may[role]}
      // Red of the palette has too little contrast in the dark theme.
      {...(isDangerous && may[role] && { c: "var(--failed)" })}
      {...(!may[role] && { title: states.needsRole(settings.role[role], settings.role[me.role]) })}
      onClick={act}
    >
      {label}
    </Menu.Item>
  );
  return (
    <Menu opened={opened} onChange={setOpened} position="bottom-end" width={200} shadow="md">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label={label} autoFocus>
          <IconDotsVertical size={18} aria-hidden />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item
          leftSection={<IconArrowRight size={16} aria-hidden />}
          onClick={() => void navigate({ to: "/configs/$configId", params: { configId: String(config.id) } })}
        >
          {configPage.open}
        </Menu.Item>
        {item("operator", text.trigger, IconPlayerPlay, () => onAsk("trigger"))}
        {config.enabled
          ? item("operator", text.disable, IconPlayerPause, () => onAsk("disable"))
          : item("operator", text.enable, IconPower, () => onAsk("enable"))}
        {item("admin", text.edit, IconPencil, () => onEdit(config.id))}
        <Menu.Item
          leftSection={<IconHistory size={16} aria-hidden />}
          onClick={() => void navigate({ to: "/runs", search: { config_id: config.id } })}
        >
          {runs.title}
        </Menu.Item>
        <Menu.Divider />
        {item("admin", text.delete, IconTrash, () => onAsk("delete"), true)}
      </Menu.Dropdown>
    </Menu>
  );
}
