interface Callbacks<Data> {
  onSuccess?: (data: Data) => void;
  onError?: (error: unknown) => void;
  onSettled?: () => void;
}

/**
 * Calls back when a change is answered, also if the component that asked for it is gone by then. The callbacks of
 * `mutate` are not called in that case: the last row of a table was deleted, or a dialog was closed while it waited.
 */
export function answered<Data>(change: Promise<Data>, { onSuccess, onError, onSettled }: Callbacks<Data>): void {
  // Without a callback, the mutation still has its error, and the component shows it.
  void change.then(onSuccess, onError ?? (() => undefined)).finally(onSettled);
}
