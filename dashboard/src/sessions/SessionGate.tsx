import { Center, Loader, Modal } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useMemo, useState } from "react";
import { api, BASE, bodyOf, type Me } from "../api/client";
import { keys } from "../api/keys";
import { isProblem } from "../api/problem";
import { readAgain } from "../api/readAgain";
import { ErrorState } from "../components/states";
import { useMessages } from "../i18n";
import { SignIn } from "./SignIn";
import { SessionContext } from "./session";

const UNAUTHORIZED = 401;
/** Drawers and dialogs of the page have 200. */
const ABOVE_DRAWERS = 400;

async function readMe(): Promise<Me> {
  return bodyOf(await api.GET(`${BASE}/me`));
}

/**
 * Shows the application to signed-in people only.
 *
 * If the session ends while a person works, the sign-in form opens above the page, so nothing that was entered is lost.
 */
export function SessionGate({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const { signIn, states } = useMessages();
  const me = useQuery({ queryKey: keys.me, queryFn: readMe, refetchOnWindowFocus: false });
  const [known, setKnown] = useState<Me | null>(null);
  const [ended, setEnded] = useState(false);

  useEffect(() => {
    if (me.data !== undefined) setKnown(me.data);
  }, [me.data]);

  useEffect(() => {
    const onResult = (error: unknown) => {
      if (isProblem(error, UNAUTHORIZED)) setEnded(true);
    };
    const stopQueries = queries.getQueryCache().subscribe((event) => {
      if (event.type === "updated" && event.action.type === "error") onResult(event.action.error);
    });
    const stopMutations = queries.getMutationCache().subscribe((event) => {
      if (event.type === "updated" && event.action.type === "error") onResult(event.action.error);
    });
    return () => {
      stopQueries();
      stopMutations();
    };
  }, [queries]);

  const session = useMemo(() => {
    if (known === null) return null;
    return {
      me: known,
      signOut() {
        void api.DELETE(`${BASE}/sessions/current`).finally(() => {
          window.location.assign("/");
        });
      },
    };
  }, [known]);

  const signedIn = () => {
    setEnded(false);
    void readAgain(queries, []);
  };

  if (session !== null) {
    return (
      <SessionContext value={session}>
        {children}
        <Modal
          opened={ended}
          onClose={() => {}}
          withCloseButton={false}
          title={signIn.expiredTitle}
          zIndex={ABOVE_DRAWERS}
          centered
        >
          <SignIn reason={signIn.expired} onSignedIn={signedIn} />
        </Modal>
      </SessionContext>
    );
  }
  if (isProblem(me.error, UNAUTHORIZED)) return <SignIn page onSignedIn={signedIn} />;
  if (me.error !== null) return <ErrorState error={me.error} onRetry={() => void me.refetch()} />;
  return (
    <Center mih="60vh">
      <Loader aria-label={states.loading} />
    </Center>
  );
}
