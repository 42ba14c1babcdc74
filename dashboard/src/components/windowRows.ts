import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useRef, useState } from "react";

/** Rows of a fixed height in a page that scrolls as a whole. Only those on the screen exist. */
export function useWindowRows(count: number, height: number, keyOf: (index: number) => string | number) {
  const body = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const measure = () => setTop(Math.round((body.current?.getBoundingClientRect().top ?? 0) + window.scrollY));
    measure();
    // The table moves when something above it appears or grows.
    const observer = new ResizeObserver(measure);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, []);
  const rows = useWindowVirtualizer({
    count,
    estimateSize: () => height,
    overscan: 8,
    scrollMargin: top,
    getItemKey: keyOf,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the heights change with the layout.
  useEffect(() => rows.measure(), [height]);
  const visible = rows.getVirtualItems().map(({ key, index, start }) => ({ key, index, offset: start - top }));
  return { body, visible, totalHeight: rows.getTotalSize(), last: visible.at(-1)?.index ?? 0 };
}
