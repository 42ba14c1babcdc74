import { Button } from "@mantine/core";
import { IconCircleCheck, IconCircleMinus, IconClockX, IconKey, IconReload, IconTrash } from "@tabler/icons-react";
import { useMemo, useState } from "react";
import { answered } from "../api/answered";
import { Time } from "../app/time";
import { Confirm } from "../components/Confirm";
import { aboveLink, type Column, dimmed, GridTable } from "../components/GridTable";
import { notifyDone, notifyFailed } from "../components/notify";
import { ErrorState } from "../components/states";
import { ToneMark } from "../components/ToneMark";
import { useMessages } from "../i18n";
import { useCan, useSession } from "../sessions/session";
import { type Token, useTokenActions, useTokens } from "./queries";
import { SecretModal } from "./SecretModal";
import { NewTokenModal, RotateModal } from "./TokenForms";
import classes from "./Tokens.module.css";

/** The API tokens, for admins: create, rotate and revoke. A secret is shown once and is not kept. */
export function Tokens() {
  const { tokens: text, states, settings } = useMessages();
  const allowed = useCan("admin");
  const { me } = useSession();
  const list = useTokens(allowed);
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.rows) ?? [], [list.data]);
  const [asked, setAsked] = useState<"create" | { action: "rotate" | "revoke"; token: Token } | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const { revoke } = useTokenActions();
  const columns = useColumns((action, token) => setAsked({ action, token }));
  const issued = (token: string) => {
    setAsked(null);
    setSecret(token);
  };
  if (!allowed) return <p className={classes.none}>{states.needsRole(settings.role.admin, settings.role[me.role])}</p>;
  const ofToken = asked !== null && asked !== "create" ? asked : null;
  return (
    <>
      <div className={classes.head}>
        <p>{text.hint}</p>
        <Button size="xs" leftSection={<IconKey size={15} aria-hidden />} onClick={() => setAsked("create")}>
          {text.create}
        </Button>
      </div>
      {list.error !== null ? (
        <ErrorState error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data !== undefined && rows.length === 0 ? (
        <p className={classes.none}>{text.empty}</p>
      ) : (
        <GridTable
          label={text.title}
          columns={columns}
          rows={rows}
          keyOf={(row) => row.id}
          height={52}
          isLoading={list.isPending}
          hasMore={list.hasNextPage}
          isLoadingMore={list.isFetchingNextPage}
          onMore={() => void list.fetchNextPage()}
        />
      )}
      <NewTokenModal opened={asked === "create"} onClose={() => setAsked(null)} onIssued={issued} />
      <RotateModal
        token={ofToken?.action === "rotate" ? ofToken.token : null}
        onClose={() => setAsked(null)}
        onIssued={issued}
      />
      <Confirm
        opened={ofToken?.action === "revoke"}
        title={text.confirmRevoke(ofToken?.token.name ?? "")}
        cancel={text.cancel}
        confirm={text.revoke}
        isPending={revoke.isPending}
        onClose={() => setAsked(null)}
        onConfirm={() => {
          if (ofToken === null) return;
          answered(revoke.mutateAsync(ofToken.token.id), {
            onSuccess: () => notifyDone(text.isRevoked(ofToken.token.name)),
            onError: (error) => notifyFailed(text.revoke, error),
            onSettled: () => setAsked(null),
          });
        }}
      >
        {text.confirmRevokeText}
      </Confirm>
      <SecretModal secret={secret} onClose={() => setSecret(null)} />
    </>
  );
}

const MARKS = {
  active: { tone: "success", icon: IconCircleCheck },
  expired: { tone: "skipped", icon: IconClockX },
  revoked: { tone: "failed", icon: IconCircleMinus },
} as const;

function useColumns(onAsk: (action: "rotate" | "revoke", token: Token) => void): Column<Token>[] {
  const { tokens: text, settings, time } = useMessages();
  const at = (value: string | null, none: string) => (
    <span className={dimmed}>{value === null ? none : <Time value={value} />}</span>
  );
  return [
    {
      key: "name",
      title: text.name,
      width: "minmax(150px, 1.2fr)",
      cell: (row) => (
        <strong>
          {row.name} <code className={classes.prefix}>{row.prefix}…</code>
        </strong>
      ),
    },
    { key: "role", title: text.role, width: "110px", cell: (row) => settings.role[row.role] },
    {
      key: "status",
      title: text.status,
      width: "130px",
      cell: (row) => <ToneMark {...MARKS[row.status]}>{text.statuses[row.status]}</ToneMark>,
    },
    {
      key: "expires",
      title: text.expires,
      width: "190px",
      cell: (row) => at(row.revoked_at ?? row.expires_at, text.never),
    },
    {
      key: "used",
      title: text.lastUsed,
      width: "190px",
      wideOnly: true,
      cell: (row) => at(row.last_used_at, time.none),
    },
    {
      key: "actions",
      title: text.actions,
      width: "220px",
      cell: (row) => (
        <span className={`${classes.actions} ${aboveLink}`}>
          {row.status === "active" && (
            <>
              <Button
                size="compact-xs"
                variant="default"
                leftSection={<IconReload size={13} aria-hidden />}
                aria-label={`${text.rotate}: ${row.name}`}
                onClick={() => onAsk("rotate", row)}
              >
                {text.rotate}
              </Button>
              <Button
                size="compact-xs"
                variant="default"
                leftSection={<IconTrash size={13} aria-hidden />}
                aria-label={`${text.revoke}: ${row.name}`}
                onClick={() => onAsk("revoke", row)}
              >
                {text.revoke}
              </Button>
            </>
          )}
        </span>
      ),
    },
  ];
}
