import { useNavigate } from "@tanstack/react-router";
import { type MouseEvent, useCallback } from "react";

export const runPath = (id: number) => `/runs/${id}`;

/** Opens a run when a plain link is clicked. Where there are many links, they cost much less than those of the router. */
export function useOpenRun(): (event: MouseEvent, id: number) => void {
  const navigate = useNavigate();
  return useCallback(
    (event, id) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // the browser opens another tab or window
      event.preventDefault();
      void navigate({ to: "/runs/$logId", params: { logId: String(id) } });
    },
    [navigate],
  );
}
