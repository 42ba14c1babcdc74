import { useSyncExternalStore } from "react";

const KEY = "candlekeep-shortcuts";
const listeners = new Set<() => void>();

/** Whether single keys are shortcuts. A person can switch them off: speech input and shaky hands press keys by mistake. */
export function shortcutsAreOn(): boolean {
  return localStorage.getItem(KEY) !== "off";
}

export function switchShortcuts(on: boolean): void {
  if (on) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, "off");
  for (const each of listeners) each();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useShortcutsAreOn(): boolean {
  return useSyncExternalStore(subscribe, shortcutsAreOn);
}

const TEXT_INPUTS = "input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable=true]";
/** In these, keys have a meaning of their own. */
const OTHERS = "[role=dialog], [role=menu], [role=listbox]";

/** The single key that was pressed as a shortcut, undefined for any other press. */
export function shortcutOf(event: KeyboardEvent): string | undefined {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return undefined;
  if (!shortcutsAreOn()) return undefined;
  const target = event.target instanceof Element ? event.target : document.body;
  if (target.closest(`${TEXT_INPUTS}, ${OTHERS}`) !== null) return undefined;
  return event.key;
}

export function isPaletteKey(event: KeyboardEvent): boolean {
  return (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k";
}

/** Moves the focus to the row after or before the one that has it. Each table marks the link of a row. */
export function moveInRows(step: 1 | -1): void {
  const links = [...document.querySelectorAll<HTMLElement>("[data-row-link]")];
  const current = links.findIndex((link) => rowOf(link).contains(document.activeElement));
  const next = current === -1 ? links.find(isOnScreen) : links[current + step];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function rowOf(link: HTMLElement): Element {
  return link.closest("[role=row], tr, li") ?? link;
}

const HEADER_PX = 100;

function isOnScreen(link: HTMLElement): boolean {
  const { top } = link.getBoundingClientRect();
  return top >= HEADER_PX && top <= window.innerHeight;
}

/** Moves the focus to the search field of the page. */
export function focusSearch(): boolean {
  const field = document.querySelector<HTMLInputElement>("[data-search]");
  field?.focus();
  field?.select();
  return field !== null;
}
