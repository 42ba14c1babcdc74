/** `2026-11-27 19:04`: the axis of the chart is in UTC, so the texts beside it are too. */
export const timeText = (instant: number) => {
  const text = new Date(instant).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, text.slice(17, 19) === "00" ? 16 : 19)}`;
};
