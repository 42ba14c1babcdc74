import { SegmentedControl, Skeleton, Table } from "@mantine/core";
import { lazy, Suspense, useState } from "react";
import { absoluteTime, useTimeStyle } from "../app/time";
import { useLanguage } from "../i18n";
import classes from "./LineChart.module.css";

const Canvas = lazy(() => import("./LineCanvas"));

export interface Line {
  label: string;
  /** One value per time; null where there is none. */
  values: readonly (number | null)[];
  /** The name of a colour of the theme, without the dashes. */
  tone: "success" | "failed" | "running" | "skipped" | "warning";
  dash?: boolean;
}

interface Props {
  title: string;
  hint?: string;
  times: readonly number[];
  lines: readonly Line[];
  format: (value: number) => string;
  min?: number;
  max?: number;
}

/** Lines over time, and the same numbers as a table for those who cannot or do not want to read the chart. */
export function LineChart({ title, hint, times, lines, format, min = 0, max }: Props) {
  const { messages } = useLanguage();
  const { style } = useTimeStyle();
  const { reports: text } = messages;
  const [shown, setShown] = useState<"chart" | "table">("chart");
  const last = lines.map((line) => {
    const value = line.values.findLast((each) => each !== null);
    return `${line.label} ${value === null || value === undefined ? "–" : format(value)}`;
  });
  return (
    <section className={classes.card} aria-label={title}>
      <header className={classes.head}>
        <div>
          <h2>{title}</h2>
          {hint !== undefined && <p>{hint}</p>}
        </div>
        <SegmentedControl
          size="xs"
          aria-label={text.showAs(title)}
          value={shown}
          onChange={(value) => setShown(value as typeof shown)}
          data={[
            { value: "chart", label: text.chart },
            { value: "table", label: text.table },
          ]}
        />
      </header>
      {shown === "chart" ? (
        <div role="img" aria-label={`${title}: ${last.join(", ")}`}>
          <Suspense fallback={<Skeleton height={262} radius="md" />}>
            <Canvas
              times={times}
              lines={lines}
              format={format}
              utc={style !== "local"}
              timeLabel={text.begins}
              min={min}
              max={max}
            />
          </Suspense>
        </div>
      ) : (
        <Numbers title={title} times={times} lines={lines} format={format} />
      )}
    </section>
  );
}

function Numbers({ title, times, lines, format }: Pick<Props, "title" | "times" | "lines" | "format">) {
  const { reports: text } = useLanguage().messages;
  const { style } = useTimeStyle();
  const newestFirst = times.map((_, index) => times.length - 1 - index);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable with the keyboard.
    <section className={classes.numbers} tabIndex={0} aria-label={title}>
      <Table stickyHeader horizontalSpacing="sm" verticalSpacing={6}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{text.begins}</Table.Th>
            {lines.map((line) => (
              <Table.Th key={line.label} ta="right">
                {line.label}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {newestFirst.map((index) => (
            <Table.Tr key={times[index]}>
              <Table.Td>{absoluteTime((times[index] ?? 0) * 1000, style).slice(0, 16)}</Table.Td>
              {lines.map((line) => {
                const value = line.values[index];
                return (
                  <Table.Td key={line.label} ta="right">
                    {value === null || value === undefined ? "–" : format(value)}
                  </Table.Td>
                );
              })}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}
