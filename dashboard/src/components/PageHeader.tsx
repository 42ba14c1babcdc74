import { Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { useMessages } from "../i18n";
import classes from "./PageHeader.module.css";

/** The heading of a page. It is also the title of the browser's tab. */
export function PageHeader({ title, note, children }: { title: string; note?: ReactNode; children?: ReactNode }) {
  const { app } = useMessages();
  useEffect(() => {
    document.title = `${title} · ${app.name}`;
  }, [title, app.name]);
  return (
    <div className={classes.header}>
      <div className={classes.titles}>
        <Title order={1} className={classes.title}>
          {title}
        </Title>
        {note !== undefined && <span className={classes.note}>{note}</span>}
      </div>
      {children !== undefined && <div className={classes.actions}>{children}</div>}
    </div>
  );
}
