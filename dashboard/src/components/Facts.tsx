import type { CSSProperties, ReactNode } from "react";
import classes from "./Facts.module.css";

interface Props {
  /** Of one fact, in pixels. */
  leastWidth: number;
  className?: string | undefined;
  children: ReactNode;
}

/** Names and values in a frame, as many beside each other as there is room for. */
export function Facts({ leastWidth, className = "", children }: Props) {
  const style = { "--least-width": `${leastWidth}px` } as CSSProperties;
  return (
    <dl className={`${classes.facts} ${className}`} style={style}>
      {children}
    </dl>
  );
}

export function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div className={classes.fact}>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}
