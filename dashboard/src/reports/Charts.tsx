import { useMemo } from "react";
import { durationText } from "../app/time";
import { type Line, LineChart } from "../components/LineChart";
import { useLanguage, useNumbers } from "../i18n";
import type { RunsOfSpan } from "./queries";
import classes from "./Reports.module.css";

/** The runs over time, as four charts. */
export function Charts({ history }: { history: readonly RunsOfSpan[] }) {
  const { messages, language } = useLanguage();
  const { reports: text } = messages;
  const numbers = useNumbers();
  const times = useMemo(() => history.map((each) => Date.parse(each.begins) / 1000), [history]);
  const lines = useMemo(() => linesOf(history, text), [history, text]);
  return (
    <div className={classes.charts}>
      <LineChart
        title={text.successRate}
        hint={text.successRateHint}
        times={times}
        lines={lines.success}
        format={(value) => `${numbers.whole(Math.round(value * 100) / 100)} %`}
        max={100}
      />
      <LineChart
        title={text.duration}
        hint={text.durationHint}
        times={times}
        lines={lines.duration}
        format={(value) => durationText(value, language)}
      />
      <LineChart
        title={text.runsByResult}
        times={times}
        lines={lines.runs}
        format={(value) => numbers.whole(Math.round(value * 100) / 100)}
      />
      <LineChart
        title={text.candles}
        hint={text.candlesHint}
        times={times}
        lines={lines.records}
        format={(value) => numbers.compact(value)}
      />
    </div>
  );
}

function linesOf(history: readonly RunsOfSpan[], text: ReturnType<typeof useLanguage>["messages"]["reports"]) {
  const values = (of: (each: RunsOfSpan) => number | null) => history.map(of);
  const success = values((each) => (each.successful + each.failed === 0 ? null : each.success_rate));
  return {
    success: [{ label: text.successRate, values: success, tone: "success" }] satisfies Line[],
    duration: [
      { label: text.median, values: values((each) => each.p50_duration), tone: "running" },
      { label: text.average, values: values((each) => each.avg_duration), tone: "skipped", dash: true },
      { label: text.p95, values: values((each) => each.p95_duration), tone: "warning" },
    ] satisfies Line[],
    runs: [
      { label: text.successful, values: values((each) => each.successful), tone: "success" },
      { label: text.failed, values: values((each) => each.failed), tone: "failed" },
      { label: text.skipped, values: values((each) => each.skipped), tone: "skipped", dash: true },
    ] satisfies Line[],
    records: [{ label: text.candles, values: values((each) => each.total_records), tone: "running" }] satisfies Line[],
  };
}
