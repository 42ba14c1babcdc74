import { ActionIcon, Tooltip } from "@mantine/core";
import { IconCommand } from "@tabler/icons-react";
import { lazy, Suspense, useEffect, useState } from "react";
import { useMessages } from "../../i18n";
import { focusSearch, isPaletteKey, moveInRows, shortcutOf } from "./shortcuts";

const Palette = lazy(() => import("./Palette").then((module) => ({ default: module.Palette })));
const Help = lazy(() => import("./Help").then((module) => ({ default: module.Help })));

/** The keyboard of every page: a command palette, help, search, and rows. The button opens the palette, too. */
export function Shortcuts() {
  const { keyboard: text } = useMessages();
  const [opened, setOpened] = useState<"palette" | "help" | null>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isPaletteKey(event)) setOpened("palette");
      else if (!act(shortcutOf(event), () => setOpened("help"))) return;
      event.preventDefault();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  return (
    <>
      <Tooltip label={text.paletteHint}>
        <ActionIcon variant="default" size={30} aria-label={text.palette} onClick={() => setOpened("palette")}>
          <IconCommand size={16} stroke={1.7} aria-hidden />
        </ActionIcon>
      </Tooltip>
      <Suspense>
        {opened === "palette" && <Palette onClose={() => setOpened(null)} onHelp={() => setOpened("help")} />}
        {opened === "help" && <Help onClose={() => setOpened(null)} />}
      </Suspense>
    </>
  );
}

/** Whether the key is a shortcut. Others keep their meaning. */
function act(key: string | undefined, openHelp: () => void): boolean {
  if (key === "/") return focusSearch();
  if (key === "j") moveInRows(1);
  else if (key === "k") moveInRows(-1);
  else if (key === "?") openHelp();
  else return false;
  return true;
}
