import { Button, type ButtonProps, Tooltip } from "@mantine/core";
import type { ReactNode } from "react";
import type { Role } from "../api/client";
import { useMessages } from "../i18n";
import { useCan, useSession } from "../sessions/session";

interface Props extends ButtonProps {
  needs: Role;
  onClick: () => void;
  children: ReactNode;
}

/** A button for an action that needs a role. Without the role it says why it does nothing. */
export function RoleButton({ needs, onClick, children, ...props }: Props) {
  const { states, settings } = useMessages();
  const { me } = useSession();
  const allowed = useCan(needs);
  return (
    <Tooltip
      label={states.needsRole(settings.role[needs], settings.role[me.role])}
      disabled={allowed}
      events={{ hover: true, focus: true, touch: true }}
    >
      <Button {...props} data-disabled={!allowed} aria-disabled={!allowed} onClick={() => allowed && onClick()}>
        {children}
      </Button>
    </Tooltip>
  );
}
