import { Loader, Skeleton } from "@mantine/core";
import type { ReactNode } from "react";
import { useMessages } from "../i18n";
import classes from "./tableParts.module.css";

/** A line below the rows of a table. */
export function TableFoot({ children }: { children: ReactNode }) {
  return <div className={classes.foot}>{children}</div>;
}

/** The foot while more rows are read. */
export function LoadingFoot({ label }: { label?: string }) {
  const { states } = useMessages();
  return (
    <TableFoot>
      <Loader size="xs" /> {label ?? states.loading}
    </TableFoot>
  );
}

/** A row of a table that has no rows yet. */
export function Placeholders({ count }: { count: number }) {
  const { states } = useMessages();
  return (
    <div role="row">
      <div role="cell" className={classes.placeholders}>
        <span className="visually-hidden">{states.loading}</span>
        {Array.from({ length: count }, (_, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: placeholders have no identity.
          <Skeleton key={index} height={16} radius="sm" />
        ))}
      </div>
    </div>
  );
}
