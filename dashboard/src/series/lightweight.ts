export type {
  IChartApi,
  ISeriesApi,
  ISeriesPrimitive,
  MouseEventParams,
  SeriesAttachedParameter,
  Time,
  UTCTimestamp,
} from "lightweight-charts";

import {
  CandlestickSeries,
  type ChartOptions,
  createChart,
  type DeepPartial,
  HistogramSeries,
  type ISeriesPrimitive,
  type Time,
} from "lightweight-charts";

export { CandlestickSeries, HistogramSeries };

/** The canvas that a primitive draws on. The library does not export the type. */
export interface CanvasRenderingTarget2D {
  useMediaCoordinateSpace<T>(
    draw: (scope: { context: CanvasRenderingContext2D; mediaSize: { width: number; height: number } }) => T,
  ): T;
}

/**
 * A chart whose style element has the nonce of the page: its policy blocks other style elements. The library adds one
 * for the logo of TradingView, which its license asks to show.
 */
export function createChartWithNonce(container: HTMLElement, options: DeepPartial<ChartOptions>) {
  const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
  const create = document.createElement;
  document.createElement = ((name: string, settings?: ElementCreationOptions) => {
    const element = create.call(document, name, settings);
    if (name === "style") element.nonce = nonce;
    return element;
  }) as typeof document.createElement;
  try {
    return createChart(container, options);
  } finally {
    document.createElement = create;
  }
}

/**
 * Moves the labels at the edges of the axis of time inside it, where they would be cut. The library does this only with
 * `fixLeftEdge` and `fixRightEdge`. With these options, nobody could drag the chart beyond the range that is loaded.
 */
export class WholeTimeLabels implements ISeriesPrimitive<Time> {
  timeAxisPaneViews() {
    const draw = (target: CanvasRenderingTarget2D) =>
      target.useMediaCoordinateSpace(({ context, mediaSize }) => keepInside(context, mediaSize.width));
    return [{ zOrder: () => "bottom" as const, renderer: () => ({ draw }) }];
  }
}

/** For centred texts, which the library draws after its primitives at the bottom. */
function keepInside(context: CanvasRenderingContext2D, width: number): void {
  context.fillText = (text, x, y) => {
    const half = context.measureText(text).width / 2;
    const inside = Math.max(half, Math.min(width - half, x));
    CanvasRenderingContext2D.prototype.fillText.call(context, text, inside, y);
  };
}
