import { type Kind, kindOf } from "./classes";
import type {
  CanvasRenderingTarget2D,
  IChartApi,
  ISeriesPrimitive,
  SeriesAttachedParameter,
  Time,
} from "./lightweight";
import type { Span } from "./queries";
import { positionOf } from "./windows";

export type Tones = Record<Kind, string>;

const HATCH = 7;
const LEAST_WIDTH = 3;

/** Draws the spans without candles behind the candles: a tint, and a pattern per kind, so that colour is not needed. */
export class Shading implements ISeriesPrimitive<Time> {
  private chart: IChartApi | null = null;
  private redraw: (() => void) | null = null;
  private spans: readonly Span[] = [];
  private slots: readonly number[] = [];

  constructor(private readonly tones: Tones) {}

  show(spans: readonly Span[], slots: readonly number[]): void {
    this.spans = spans;
    this.slots = slots;
    this.redraw?.();
  }

  attached({ chart, requestUpdate }: SeriesAttachedParameter<Time>): void {
    this.chart = chart as IChartApi;
    this.redraw = requestUpdate;
  }

  detached(): void {
    this.chart = null;
    this.redraw = null;
  }

  paneViews() {
    return [
      {
        zOrder: () => "bottom" as const,
        renderer: () => ({ draw: (target: CanvasRenderingTarget2D) => this.draw(target) }),
      },
    ];
  }

  private draw(target: CanvasRenderingTarget2D): void {
    const scale = this.chart?.timeScale();
    if (scale === undefined || this.slots.length < 2) return;
    // biome-ignore lint/correctness/useHookAtTopLevel: it is a method of the canvas, not a hook.
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      for (const span of this.spans) {
        // A bar stands in the middle of its slot, so a slot begins half a position before it.
        const [left, right] = [span.start, span.end].map((each) =>
          xOf(scale, positionOf(this.slots, Date.parse(each)) - 0.5),
        );
        if (left === undefined || right === undefined || right < 0 || left > mediaSize.width) continue;
        const from = Math.max(-HATCH, left);
        const width = Math.max(LEAST_WIDTH, Math.min(mediaSize.width + HATCH, right) - from);
        this.shade(context, kindOf(span.absence_class), from, width, mediaSize.height);
      }
    });
  }

  private shade(context: CanvasRenderingContext2D, kind: Kind, x: number, width: number, height: number): void {
    context.save();
    context.beginPath();
    context.rect(x, 0, width, height);
    context.clip();
    context.fillStyle = this.tones[kind];
    context.globalAlpha = 0.14;
    context.fillRect(x, 0, width, height);
    context.globalAlpha = 0.45;
    context.strokeStyle = this.tones[kind];
    context.lineWidth = 1;
    context.beginPath();
    if (kind !== "harmless") lines(context, x, width, height, 1);
    if (kind === "lost") lines(context, x, width, height, -1);
    context.rect(x + 0.5, -1, Math.max(1, width - 1), height + 2);
    context.stroke();
    context.restore();
  }
}

/** The time scale gives no coordinate for fractions, so it is interpolated. */
function xOf(scale: ReturnType<IChartApi["timeScale"]>, position: number): number | undefined {
  const [one, other] = [scale.logicalToCoordinate(0 as never), scale.logicalToCoordinate(100 as never)];
  if (one === null || other === null) return undefined;
  return one + ((other - one) * position) / 100;
}

function lines(context: CanvasRenderingContext2D, x: number, width: number, height: number, slope: 1 | -1): void {
  const first = Math.floor((x - height) / HATCH) * HATCH;
  for (let at = first; at < x + width + height; at += HATCH) {
    context.moveTo(at, slope === 1 ? height : 0);
    context.lineTo(at + height, slope === 1 ? 0 : height);
  }
}
