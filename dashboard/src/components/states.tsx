import { Alert, Button, Stack, Text } from "@mantine/core";
import { IconAlertTriangle, IconLock, IconPlugConnectedX } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { isProblem } from "../api/problem";
import { useMessages } from "../i18n";
import classes from "./states.module.css";

const FORBIDDEN = 403;

/** A request has failed: what happened, what to do, and the id under which the log has it. */
export function ErrorState({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const { states } = useMessages();
  const offline = isProblem(error, 0);
  const forbidden = isProblem(error, FORBIDDEN);
  const title = offline
    ? states.offlineTitle
    : forbidden
      ? states.forbiddenTitle
      : isProblem(error)
        ? error.title
        : String(error);
  const detail = offline ? states.offline : isProblem(error) ? error.detail : null;
  const Icon = offline ? IconPlugConnectedX : forbidden ? IconLock : IconAlertTriangle;
  return (
    <Alert
      className={classes.error}
      variant="outline"
      color={offline || forbidden ? "yellow" : "red"}
      icon={<Icon aria-hidden />}
      title={title}
      role="alert"
    >
      <Stack gap="xs" align="flex-start">
        {detail !== null && <Text size="sm">{detail}</Text>}
        {isProblem(error) && error.requestId !== null && (
          <Text size="xs" c="dimmed">
            {states.requestId(error.requestId)}
          </Text>
        )}
        {onRetry !== undefined && !forbidden && (
          <Button size="xs" variant="default" onClick={onRetry}>
            {states.retry}
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

/** There is nothing to show: why, and what to do about it. */
export function EmptyState({ title, hint, action }: { title: string; hint: string; action?: ReactNode }) {
  return (
    <div className={classes.empty}>
      <Text fw={600}>{title}</Text>
      <Text size="sm" c="dimmed" maw={440}>
        {hint}
      </Text>
      {action}
    </div>
  );
}
