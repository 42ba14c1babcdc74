/** One entry of the command palette. */
export interface Command {
  id: string;
  group: string;
  label: string;
  act: () => void;
}

/** So many entries of one group are listed. Typing finds the others. */
export const PER_GROUP = 6;

/** The commands that contain each typed word, in their order, and only the first ones of each group. */
export function found(commands: readonly Command[], typed: string): Command[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const counts = new Map<string, number>();
  return commands.filter(({ group, label }) => {
    const text = label.toLowerCase();
    if (!words.every((word) => text.includes(word))) return false;
    const count = (counts.get(group) ?? 0) + 1;
    counts.set(group, count);
    return count <= PER_GROUP;
  });
}

/** The typed words without those of an action, such as "Run now": the rest is the name of a config. */
export function searchOf(typed: string, action: string): string {
  const ofAction = action.toLowerCase().split(/\s+/);
  const words = typed.toLowerCase().split(/[\s·:]+/);
  return words.filter((word) => word !== "" && !ofAction.some((each) => each.startsWith(word))).join(" ");
}
