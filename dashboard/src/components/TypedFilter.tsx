import { TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { useEffect, useState } from "react";

const TYPING_MS = 350;

interface Props {
  label: string;
  hint: string;
  value: string | undefined;
  onType: (value: string | undefined) => void;
  /** No filter is set: all were cleared, or none was applied yet. */
  isCleared: boolean;
  width?: number;
  /** The key `/` goes here. */
  main?: boolean;
}

/** A text that is applied when the person stops typing. */
export function TypedFilter({ label, hint, value, onType, isCleared, width = 150, main = false }: Props) {
  const [typed, setTyped] = useState(value ?? "");
  const apply = useDebouncedCallback((text: string) => onType(text.trim() || undefined), TYPING_MS);
  useEffect(() => setTyped(value ?? ""), [value]);
  useEffect(() => {
    if (!isCleared) return;
    apply.cancel(); // a text that was not applied yet is cleared, too
    setTyped("");
  }, [isCleared, apply]);
  return (
    <TextInput
      label={label}
      size="xs"
      w={width}
      placeholder={hint}
      data-search={main || undefined}
      leftSection={main ? <IconSearch size={14} aria-hidden /> : undefined}
      value={typed}
      onChange={(event) => {
        setTyped(event.currentTarget.value);
        apply(event.currentTarget.value);
      }}
    />
  );
}
