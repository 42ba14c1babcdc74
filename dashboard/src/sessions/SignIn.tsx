import { Alert, Button, Paper, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { api, BASE } from "../api/client";
import { isProblem } from "../api/problem";
import icon from "../app/icon.svg";
import { useMessages } from "../i18n";
import classes from "./SignIn.module.css";

const LINK_PATH = "/sign-in";

/** Exchanges a token, or the code of a sign-in link, for the session cookie. Neither is stored. */
async function exchange(credential: string): Promise<void> {
  await api.POST(`${BASE}/sessions`, { headers: { Authorization: `Bearer ${credential}` } });
}

/** The code of a sign-in link. It is behind `#`, so browsers send it to no server and no log has it. */
function takeCodeOfLink(): string | null {
  if (window.location.pathname !== LINK_PATH || window.location.hash.length < 2) return null;
  const code = window.location.hash.slice(1);
  window.history.replaceState(null, "", "/");
  return code;
}

interface Props {
  onSignedIn: () => void;
  /** Why the person must sign in again. */
  reason?: string;
  /** Whether the form is the whole page. */
  page?: boolean;
}

export function SignIn({ onSignedIn, reason, page = false }: Props) {
  const { app, signIn, states } = useMessages();
  const [token, setToken] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [linkError, setLinkError] = useState<string | null>(null);
  const [working, setWorking] = useState(false);
  const asked = useRef(false);

  const submit = async (credential: string, report: (text: string) => void) => {
    setWorking(true);
    try {
      await exchange(credential);
      setToken("");
      onSignedIn();
    } catch (problem) {
      report(isProblem(problem) && problem.status > 0 ? problem.detail : states.offlineTitle);
    } finally {
      setWorking(false);
    }
  };

  // biome-ignore lint/correctness/useExhaustiveDependencies: a link works once, so its code is sent once.
  useEffect(() => {
    if (asked.current) return;
    asked.current = true;
    const code = takeCodeOfLink();
    if (code !== null) void submit(code, setLinkError);
  }, []);

  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    setLinkError(null);
    if (token.trim() === "") setError(signIn.required);
    else void submit(token.trim(), setError);
  };

  const form = (
    <form onSubmit={onSubmit}>
      <Stack gap="md">
        <Text size="sm" c="dimmed">
          {reason ?? signIn.hint}
        </Text>
        {linkError !== null && (
          <Alert color="red" title={signIn.linkFailed} role="alert">
            {linkError}
          </Alert>
        )}
        <PasswordInput
          label={signIn.token}
          value={token}
          onChange={(event) => {
            setToken(event.currentTarget.value);
            setError(null);
          }}
          error={error}
          autoComplete="off"
          data-autofocus
          autoFocus={page}
        />
        <Button type="submit" loading={working}>
          {signIn.submit}
        </Button>
      </Stack>
    </form>
  );
  if (!page) return form;
  return (
    <main className={classes.page}>
      <Paper className={classes.card} withBorder shadow="sm" p="xl" radius="lg">
        <img src={icon} alt="" className={classes.icon} />
        <Title order={1} size="h3" mb="xs">
          {signIn.title} · {app.name}
        </Title>
        {form}
        <Text size="xs" c="dimmed" mt="md">
          {signIn.demo}
        </Text>
      </Paper>
    </main>
  );
}
