export const TIMEFRAMES = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"];

/** The filters of the list of series, as they are in the address. */
export interface SeriesSearch {
  exchange?: string;
  symbol?: string;
  timeframe?: string;
}

const filled = (value: unknown): value is string => typeof value === "string" && value !== "";

export function seriesSearch(raw: Record<string, unknown>): SeriesSearch {
  return {
    ...(filled(raw.exchange) && { exchange: raw.exchange }),
    ...(filled(raw.symbol) && { symbol: raw.symbol }),
    ...(filled(raw.timeframe) && { timeframe: raw.timeframe }),
  };
}

/** What the page of one series shows: the visible range of its chart, and whether it is a table. */
export interface ChartSearch {
  from?: string;
  to?: string;
  view?: "table";
}

export function chartSearch(raw: Record<string, unknown>): ChartSearch {
  const [from, to] = [instant(raw.from), instant(raw.to)];
  return {
    ...(from !== null && to !== null && from < to && { from: iso(from), to: iso(to) }),
    ...(raw.view === "table" && { view: "table" as const }),
  };
}

const instant = (value: unknown) => {
  const parsed = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(parsed) ? null : parsed;
};

/** `2026-11-27T19:04:05Z`: without milliseconds, so that addresses stay short. */
export const iso = (milliseconds: number) => `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;

export interface SeriesName {
  exchange: string;
  symbol: string;
  timeframe: string;
}

/** A text that identifies a series. */
export const pathOf = ({ exchange, symbol, timeframe }: SeriesName) => `${exchange}/${symbol}/${timeframe}`;

/** The address of a series is `/series/binance/BTC/USDT/1m`: a symbol contains slashes, so it is the rest of the path. */
export const paramsOf = ({ exchange, symbol, timeframe }: SeriesName) => ({
  exchange,
  _splat: `${symbol}/${timeframe}`,
});

export function nameOf(exchange: string, rest: string): SeriesName {
  const parts = rest.split("/");
  return { exchange, symbol: parts.slice(0, -1).join("/"), timeframe: parts.at(-1) ?? "" };
}
