import { Modal, Text, TextInput, useMantineColorScheme } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useNavigate, useRouter } from "@tanstack/react-router";
import { type KeyboardEvent, useEffect, useId, useMemo, useRef, useState } from "react";
import { answered } from "../../api/answered";
import { notifyDone, notifyFailed } from "../../components/notify";
import { useConfigAction, useFoundConfigs } from "../../configs/queries";
import { useMessages } from "../../i18n";
import { useCan, useSession } from "../../sessions/session";
import { type Command, found, PER_GROUP, searchOf } from "./commands";
import classes from "./Palette.module.css";

const TYPING_MS = 150;

/** Finds pages, configs and actions by name. */
export function Palette({ onClose, onHelp }: { onClose: () => void; onHelp: () => void }) {
  const { keyboard: text } = useMessages();
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const [settled] = useDebouncedValue(typed, TYPING_MS);
  const commands = useCommands(settled, onHelp);
  const shown = useMemo(() => found(commands, typed), [commands, typed]);
  const active = Math.min(at, shown.length - 1);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the active entry scrolls into view when it changes.
  useEffect(() => {
    list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }, [active]);

  const run = (command: Command | undefined) => {
    if (command === undefined) return;
    onClose();
    command.act();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") setAt(Math.min(active + 1, shown.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(active - 1, 0));
    else if (event.key === "Enter") run(shown[active]);
    else return;
    event.preventDefault();
  };
  return (
    <Modal
      opened
      onClose={onClose}
      withCloseButton={false}
      aria-label={text.palette}
      padding={0}
      size="lg"
      yOffset="12vh"
    >
      <TextInput
        className={classes.input}
        variant="unstyled"
        size="md"
        data-autofocus
        leftSection={<IconSearch size={18} aria-hidden />}
        placeholder={text.placeholder}
        aria-label={text.placeholder}
        role="combobox"
        aria-expanded
        aria-controls={`${id}-list`}
        aria-activedescendant={shown.length > 0 ? `${id}-${active}` : undefined}
        aria-autocomplete="list"
        value={typed}
        onChange={(event) => {
          setTyped(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKeyDown}
      />
      {shown.length === 0 && (
        <Text size="sm" c="dimmed" p="md" role="status">
          {text.nothing}
        </Text>
      )}
      <div ref={list} id={`${id}-list`} role="listbox" aria-label={text.palette} className={classes.list}>
        {shown.map((command, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the field above has the focus and handles the keys.
          <div
            key={command.id}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === active}
            className={classes.option}
            onClick={() => run(command)}
            onMouseMove={() => setAt(index)}
          >
            <span className={classes.label}>{command.label}</span>
            {command.group !== shown[index - 1]?.group && <span className={classes.group}>{command.group}</span>}
          </div>
        ))}
      </div>
    </Modal>
  );
}

/** Pages are the links of the navigation, so each page is listed once in the program. */
function pageLinks(): HTMLAnchorElement[] {
  return [...document.querySelectorAll<HTMLAnchorElement>("nav a[href^='/']")];
}

function useCommands(typed: string, onHelp: () => void): Command[] {
  const { keyboard: text, configs: words, settings } = useMessages();
  const navigate = useNavigate();
  const router = useRouter();
  const { signOut } = useSession();
  const mayTrigger = useCan("operator");
  const mayCreate = useCan("admin");
  const list = useFoundConfigs(searchOf(typed, words.trigger), PER_GROUP);
  const { mutateAsync } = useConfigAction();
  const { colorScheme, setColorScheme } = useMantineColorScheme();

  const pages = pageLinks().map((link) => {
    const path = link.getAttribute("href") ?? "/";
    const act = () => (path === "/docs" ? window.location.assign(path) : router.history.push(path));
    return { id: `page ${path}`, group: text.pages, label: link.textContent?.trim() ?? path, act };
  });
  const actions: Command[] = [
    { id: "failed", label: text.failedRuns, act: () => void navigate({ to: "/runs", search: { status: "failed" } }) },
    ...(mayCreate
      ? [{ id: "new", label: words.create, act: () => void navigate({ to: "/configs", search: { edit: "new" } }) }]
      : []),
    { id: "theme", label: text.switchTheme, act: () => setColorScheme(colorScheme === "dark" ? "light" : "dark") },
    { id: "help", label: text.help, act: onHelp },
    { id: "out", label: settings.signOut, act: signOut },
  ].map((action) => ({ ...action, group: text.actions }));
  const named = (list.data ?? []).map((config) => ({ id: config.id, name: `${config.symbol} · ${config.exchange}` }));
  const configs = named.map(({ id, name }) => ({
    id: `config ${id}`,
    group: words.title,
    label: name,
    act: () => void navigate({ to: "/configs", search: { edit: id } }),
  }));
  const trigger = (id: number, name: string) =>
    answered(mutateAsync({ action: "trigger", id }), {
      onSuccess: () => notifyDone(words.triggered(name)),
      onError: (error) => notifyFailed(words.failed(words.trigger), error),
    });
  const triggers = mayTrigger
    ? named.map(({ id, name }) => ({
        id: `run ${id}`,
        group: words.trigger,
        label: `${words.trigger}: ${name}`,
        act: () => trigger(id, name),
      }))
    : [];
  return [...pages, ...configs, ...actions, ...triggers];
}
