import { ActionIcon, Badge, Checkbox, Loader, Menu, Tooltip, UnstyledButton } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import {
  IconArrowDown,
  IconArrowRight,
  IconArrowUp,
  IconDotsVertical,
  IconHistory,
  IconPencil,
  IconPlayerPause,
  IconPlayerPlay,
  IconPower,
  IconTrash,
} from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useEffect, useMemo, useState } from "react";
import type { Role } from "../api/client";
import { shortcutOf } from "../app/keyboard/shortcuts";
import { absoluteTime, durationText, spanText, useNow, useTimeStyle } from "../app/time";
import { RunStrip } from "../components/RunStrip";
import { useWindowRows } from "../components/windowRows";
import { useLanguage, useMessages, useNumbers } from "../i18n";
import { useCan, useSession } from "../sessions/session";
import { BulkActions } from "./BulkActions";
import classes from "./ConfigTable.module.css";
import { ConfirmAction } from "./ConfirmAction";
import type { Row } from "./figures";
import type { Action } from "./queries";
import type { ConfigsSearch, Sort } from "./search";

const ROW = 60;
const NARROW_ROW = 140;
const LOAD_AHEAD_ROWS = 20;
const GOOD_SUCCESS = 95;
const SHOWN_TIMEFRAMES = 6;

interface Props {
  rows: readonly Row[];
  hasMore: boolean;
  isLoadingMore: boolean;
  onMore: () => void;
  search: ConfigsSearch;
  apply: (changes: { sort?: Sort | undefined; desc?: true | undefined }) => void;
  onEdit: (id: number) => void;
}

/** The configs as rows. A column title sorts; a second click reverses the order. */
export function ConfigTable({ rows, hasMore, isLoadingMore, onMore, search, apply, onEdit }: Props) {
  const { configs: text, bulk, states } = useMessages();
  const [asked, setAsked] = useState<{ action: Action; row: Row } | null>(null);
  const narrow = useMediaQuery("(max-width: 860px)") ?? false;
  const height = narrow ? NARROW_ROW : ROW;
  const { body, visible, totalHeight, last } = useWindowRows(
    rows.length,
    height,
    (index) => rows[index]?.config.id ?? index,
  );
  useEffect(() => {
    if (hasMore && !isLoadingMore && last >= rows.length - LOAD_AHEAD_ROWS) onMore();
  }, [hasMore, isLoadingMore, last, rows.length, onMore]);
  const [marked, setMarked] = useState<ReadonlySet<number>>(new Set());
  // Rows that a filter hides, or that were deleted meanwhile, are not selected.
  const selected = useMemo(() => rows.filter((row) => marked.has(row.config.id)), [rows, marked]);
  const mark = (id: number) =>
    setMarked((before) => {
      const after = new Set(before);
      if (!after.delete(id)) after.add(id);
      return after;
    });
  const all = selected.length === rows.length;
  const title = (label: string, sort?: Sort, hint?: string) => (
    <Title label={label} sort={sort} hint={hint} search={search} apply={apply} />
  );
  return (
    <>
      <div className={classes.frame}>
        <div role="table" aria-label={text.title} aria-rowcount={hasMore ? -1 : rows.length + 1}>
          <div role="rowgroup" className={classes.head}>
            <div role="row" aria-rowindex={1} className={classes.columns}>
              <div role="columnheader">
                <Checkbox
                  size="xs"
                  aria-label={hasMore ? bulk.selectAllLoaded : bulk.selectAll}
                  checked={all}
                  indeterminate={!all && selected.length > 0}
                  onChange={() => setMarked(all ? new Set() : new Set(rows.map((row) => row.config.id)))}
                />
              </div>
              {title(text.symbol, "symbol")}
              {title(text.timeframes)}
              {title(text.lastRuns)}
              {title(text.successRate, "success")}
              {title(text.p95, "duration", text.p95Hint)}
              {title(text.records, undefined, text.recordsHint)}
              {title(text.whole, "whole", text.wholeHint)}
              {title(text.nextRun, "next")}
              <div role="columnheader">
                <span className="visually-hidden">{text.actions}</span>
              </div>
            </div>
          </div>
          <div role="rowgroup" ref={body} className={classes.body} style={{ height: totalHeight }}>
            {visible.map(({ key, index, offset }) => {
              const row = rows[index];
              if (row === undefined) return null;
              return (
                <div
                  key={key}
                  role="row"
                  aria-rowindex={index + 2}
                  className={`${classes.columns} ${classes.row}`}
                  data-disabled={!row.config.enabled || undefined}
                  data-selected={marked.has(row.config.id) || undefined}
                  style={{ height, transform: `translateY(${offset}px)` }}
                >
                  <Cells
                    row={row}
                    selected={marked.has(row.config.id)}
                    onSelect={() => mark(row.config.id)}
                    onEdit={onEdit}
                    onAsk={(action) => setAsked({ action, row })}
                  />
                </div>
              );
            })}
          </div>
        </div>
        {isLoadingMore && (
          <div className={classes.foot}>
            <Loader size="xs" /> {states.loading}
          </div>
        )}
        <ConfirmAction asked={asked} onClose={() => setAsked(null)} />
      </div>
      <BulkActions selected={selected} onClear={() => setMarked(new Set())} />
    </>
  );
}

interface TitleProps {
  label: string;
  sort: Sort | undefined;
  hint: string | undefined;
  search: ConfigsSearch;
  apply: Props["apply"];
}

function Title({ label, sort, hint, search, apply }: TitleProps) {
  const isSorted = sort !== undefined && (search.sort ?? "symbol") === sort;
  const Arrow = search.desc ? IconArrowDown : IconArrowUp;
  const content =
    sort === undefined ? (
      <span>{label}</span>
    ) : (
      <UnstyledButton
        className={classes.sort}
        onClick={() => apply({ sort, desc: isSorted && !search.desc ? true : undefined })}
      >
        {label}
        {isSorted && <Arrow size={13} aria-hidden />}
      </UnstyledButton>
    );
  return (
    <div role="columnheader" aria-sort={isSorted ? (search.desc ? "descending" : "ascending") : undefined}>
      <Tooltip label={hint} disabled={hint === undefined} multiline w={220}>
        {content}
      </Tooltip>
    </div>
  );
}

interface CellsProps {
  row: Row;
  selected: boolean;
  onSelect: () => void;
  onEdit: (id: number) => void;
  onAsk: (action: Action) => void;
}

function Cells({ row, selected, onSelect, onEdit, onAsk }: CellsProps) {
  const { configs: text, bulk } = useMessages();
  const mayTrigger = useCan("operator");
  const { language } = useLanguage();
  const numbers = useNumbers();
  const { config } = row;
  const more = config.timeframes.length - SHOWN_TIMEFRAMES;
  const onKeyDown = (event: KeyboardEvent) => {
    const key = shortcutOf(event.nativeEvent);
    if (key === "t" && mayTrigger) onAsk("trigger");
    else if (key === "x") onSelect();
  };
  return (
    <>
      <div role="cell" className={classes.select}>
        <Checkbox
          size="xs"
          aria-label={bulk.select(`${config.symbol} ${config.exchange}`)}
          checked={selected}
          onChange={onSelect}
        />
      </div>
      <div role="cell" className={classes.name}>
        <UnstyledButton
          className={classes.symbol}
          data-row-link
          onKeyDown={onKeyDown}
          onClick={() => onEdit(config.id)}
        >
          {config.symbol}
        </UnstyledButton>
        <span className={classes.under}>
          {config.exchange} · {text.everyMinutes(config.interval_minutes)}
        </span>
      </div>
      <div role="cell" className={classes.timeframes} title={config.timeframes.join(", ")}>
        {config.timeframes.slice(0, SHOWN_TIMEFRAMES).map((each) => (
          <Badge key={each} variant="default" size="sm" radius="sm" tt="none">
            {each}
          </Badge>
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
        <ActionsMenu row={row} onEdit={onEdit} onAsk={onAsk} />
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
    <Tooltip label={absoluteTime(at, style)}>
      <time dateTime={at} className={overdue ? classes.overdue : undefined}>
        {overdue ? time.overdue(spanText(-left)) : left < 1000 ? time.now : time.in(spanText(left))}
      </time>
    </Tooltip>
  );
}

function ActionsMenu({
  row,
  onEdit,
  onAsk,
}: {
  row: Row;
  onEdit: (id: number) => void;
  onAsk: (action: Action) => void;
}) {
  const { configs: text, configPage, runs, states, settings } = useMessages();
  const { me } = useSession();
  const navigate = useNavigate();
  const may: Record<Role, boolean> = { viewer: true, operator: useCan("operator"), admin: useCan("admin") };
  const { config } = row;
  const item = (role: Role, label: string, Icon: typeof IconPencil, act: () => void, color?: string) => (
    <Menu.Item
      leftSection={<Icon size={16} aria-hidden />}
      disabled={!may[role]}
      {...(color !== undefined && { color })}
      {...(!may[role] && { title: states.needsRole(settings.role[role], settings.role[me.role]) })}
      onClick={act}
    >
      {label}
    </Menu.Item>
  );
  return (
    <Menu position="bottom-end" width={200} shadow="md">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label={text.actionsOf(`${config.symbol} ${config.exchange}`)}>
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
        {item("admin", text.delete, IconTrash, () => onAsk("delete"), "red")}
      </Menu.Dropdown>
    </Menu>
  );
}
