import { useMediaQuery } from "@mantine/hooks";
import { type ReactNode, useEffect } from "react";
import classes from "./GridTable.module.css";
import { LoadingFoot, Placeholders } from "./TableParts";
import { useWindowRows } from "./windowRows";

const ROW = 48;
const NARROW_LINE = 25;
const NARROW_PADDING = 22;
const LOAD_AHEAD_ROWS = 20;
const SKELETON_ROWS = 8;

export interface Column<Row> {
  key: string;
  title: string;
  /** The width in the grid, such as `120px` or `minmax(100px, 1fr)`. */
  width: string;
  number?: boolean;
  /** Left out on screens that are narrower than 1180 px, but not on cards. */
  wideOnly?: boolean;
  cell: (row: Row) => ReactNode;
}

interface Props<Row> {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string | number;
  height?: number;
  isLoading?: boolean;
  hasMore?: boolean;
  isLoadingMore?: boolean;
  onMore?: () => void;
}

/**
 * Rows of a fixed height, of which only those on the screen exist. On narrow screens each row is a card: its first cell is
 * the title, and the others have their names beside them. A link with the properties `rowLink` covers its row.
 */
export function GridTable<Row>({ label, columns, rows, keyOf, height = ROW, ...more }: Props<Row>) {
  const { isLoading = false, hasMore = false, isLoadingMore = false, onMore } = more;
  const narrow = useMediaQuery("(max-width: 760px)") ?? false;
  const medium = useMediaQuery("(max-width: 1180px)") ?? false;
  const shown = columns.filter((column) => narrow || !medium || !column.wideOnly);
  const rowHeight = narrow ? NARROW_PADDING + NARROW_LINE * shown.length : height;
  const keyAt = (index: number) => {
    const row = rows[index];
    return row === undefined ? index : keyOf(row);
  };
  const { body, visible, totalHeight, last } = useWindowRows(rows.length, rowHeight, keyAt);
  useEffect(() => {
    if (hasMore && !isLoadingMore && last >= rows.length - LOAD_AHEAD_ROWS) onMore?.();
  }, [hasMore, isLoadingMore, last, rows.length, onMore]);
  const template = { gridTemplateColumns: narrow ? undefined : shown.map((column) => column.width).join(" ") };
  return (
    <div className={classes.frame}>
      <div role="table" aria-label={label} aria-rowcount={hasMore ? -1 : rows.length + 1} aria-busy={isLoading}>
        <div role="rowgroup" className={classes.head}>
          <div role="row" aria-rowindex={1} className={classes.columns} style={template}>
            {shown.map((column) => (
              <div role="columnheader" key={column.key} data-number={column.number || undefined}>
                {column.title}
              </div>
            ))}
          </div>
        </div>
        <div
          role="rowgroup"
          ref={body}
          className={classes.body}
          style={{ height: isLoading ? undefined : totalHeight }}
        >
          {isLoading && <Placeholders count={SKELETON_ROWS} />}
          {visible.map(({ key, index, offset }) => {
            const row = rows[index];
            if (row === undefined) return null;
            const style = { ...template, height: rowHeight, transform: `translateY(${offset}px)` };
            return (
              <div
                key={key}
                role="row"
                aria-rowindex={index + 2}
                className={`${classes.columns} ${classes.row}`}
                style={style}
              >
                {shown.map((column) => (
                  <div
                    role="cell"
                    key={column.key}
                    className={classes.cell}
                    data-number={column.number || undefined}
                    data-label={column.title}
                  >
                    {column.cell(row)}
                  </div>
                ))}
              </div>
            );
          })}
        </div>
      </div>
      {isLoadingMore && <LoadingFoot />}
    </div>
  );
}

export const rowLink = { className: classes.link ?? "", "data-row-link": true } as const;
/** For a control in a row that has a `rowLink`. */
export const aboveLink = classes.above ?? "";
/** For a text that may have two lines. */
export const twoLines = classes.twoLines ?? "";
export const dimmed = classes.dimmed ?? "";
