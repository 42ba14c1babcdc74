import { Button, Group, Modal, ScrollArea, Text, Tooltip } from "@mantine/core";
import { IconCircleCheck, IconCircleMinus, IconCircleX } from "@tabler/icons-react";
import { useState } from "react";
import { answered } from "../api/answered";
import type { Role } from "../api/client";
import { notifyDone, notifyFailed } from "../components/notify";
import { useMessages } from "../i18n";
import { useCan, useSession } from "../sessions/session";
import classes from "./BulkActions.module.css";
import { type BulkItem, useBulkAction } from "./bulk";
import type { Row } from "./figures";
import type { Action } from "./queries";

const ACTIONS: readonly { action: Action; role: Role; color?: string }[] = [
  { action: "trigger", role: "operator" },
  { action: "enable", role: "operator" },
  { action: "disable", role: "operator" },
  { action: "delete", role: "admin", color: "red" },
];
const CONFIRMED: readonly Action[] = ["disable", "delete"];

interface Result {
  action: Action;
  items: readonly BulkItem[];
  names: ReadonlyMap<number, string>;
}

const nameOf = ({ config }: Row) => `${config.symbol} · ${config.exchange}`;

/** What can be done with the selected configs. The result of each is shown unless all are done. */
export function BulkActions({ selected, onClear }: { selected: readonly Row[]; onClear: () => void }) {
  const { bulk: text, configs: words } = useMessages();
  const { mutateAsync, isPending } = useBulkAction();
  const [asked, setAsked] = useState<Action | null>(null);
  const [result, setResult] = useState<Result | null>(null);

  const act = (action: Action) => {
    const names = new Map(selected.map((row) => [row.config.id, nameOf(row)]));
    answered(mutateAsync({ action, ids: [...names.keys()] }), {
      onSuccess: (items) => {
        onClear();
        if (items.every((item) => item.outcome === "done")) {
          notifyDone(text.allDone(words[action], items.length));
        } else setResult({ action, items, names });
      },
      onError: (error) => notifyFailed(words.failed(words[action]), error),
      onSettled: () => setAsked(null),
    });
  };
  return (
    <>
      {selected.length > 0 && (
        <section className={classes.bar} aria-label={text.title}>
          <Text size="sm" fw={600} role="status">
            {text.selected(selected.length)}
          </Text>
          <div className={classes.buttons}>
            {ACTIONS.map((each) => (
              <ActionButton
                key={each.action}
                {...each}
                working={isPending}
                onClick={() => (CONFIRMED.includes(each.action) ? setAsked(each.action) : act(each.action))}
              />
            ))}
            <Button size="xs" variant="subtle" onClick={onClear}>
              {text.clear}
            </Button>
          </div>
        </section>
      )}
      <Modal
        opened={asked !== null}
        onClose={() => setAsked(null)}
        title={asked !== null && text.confirm(words[asked], selected.length)}
        closeButtonProps={{ "aria-label": words.cancel }}
        centered
      >
        <Text size="sm">{asked === "delete" ? words.confirmDeleteText : words.confirmDisableText}</Text>
        <Group justify="flex-end" mt="lg">
          <Button variant="default" onClick={() => setAsked(null)} data-autofocus>
            {words.cancel}
          </Button>
          <Button color="red" loading={isPending} onClick={() => asked !== null && act(asked)}>
            {asked !== null && words[asked]}
          </Button>
        </Group>
      </Modal>
      <ResultDialog result={result} onClose={() => setResult(null)} />
    </>
  );
}

interface ActionButtonProps {
  action: Action;
  role: Role;
  color?: string;
  working: boolean;
  onClick: () => void;
}

function ActionButton({ action, role, color, working, onClick }: ActionButtonProps) {
  const { configs: words, states, settings } = useMessages();
  const { me } = useSession();
  const allowed = useCan(role);
  return (
    <Tooltip label={states.needsRole(settings.role[role], settings.role[me.role])} disabled={allowed}>
      <Button
        size="xs"
        variant="default"
        {...(color !== undefined && { c: "var(--failed)" })}
        data-disabled={!allowed || working}
        aria-disabled={!allowed || working}
        onClick={() => allowed && !working && onClick()}
      >
        {words[action]}
      </Button>
    </Tooltip>
  );
}

/** The result of each config, the failed ones first. */
function ResultDialog({ result, onClose }: { result: Result | null; onClose: () => void }) {
  const { bulk: text, configs: words, form } = useMessages();
  const items = [...(result?.items ?? [])].sort((a, b) => RANKS[a.outcome] - RANKS[b.outcome]);
  const count = (outcome: BulkItem["outcome"]) => items.filter((item) => item.outcome === outcome).length;
  return (
    <Modal
      opened={result !== null}
      onClose={onClose}
      title={result !== null && text.resultTitle(words[result.action])}
      closeButtonProps={{ "aria-label": form.close }}
      centered
      size="lg"
      scrollAreaComponent={ScrollArea.Autosize}
    >
      <Text size="sm" mb="sm" role="status">
        {text.summary(count("done"), count("unchanged"), count("failed"))}
      </Text>
      <ul className={classes.items}>
        {items.map((item) => (
          <Item key={item.index} item={item} name={result?.names.get(item.config_id ?? 0) ?? `#${item.config_id}`} />
        ))}
      </ul>
    </Modal>
  );
}

const RANKS: Record<BulkItem["outcome"], number> = { failed: 0, unchanged: 1, done: 2, would_be_done: 3 };
const ICONS = {
  failed: IconCircleX,
  unchanged: IconCircleMinus,
  done: IconCircleCheck,
  would_be_done: IconCircleCheck,
} as const;

function Item({ item, name }: { item: BulkItem; name: string }) {
  const { bulk: text } = useMessages();
  const Icon = ICONS[item.outcome];
  return (
    <li className={classes.item} data-outcome={item.outcome}>
      <Icon size={16} aria-hidden />
      <strong>{name}</strong>
      <span>{text.outcome[item.outcome]}</span>
      {item.problem && <p>{item.problem.detail}</p>}
    </li>
  );
}
