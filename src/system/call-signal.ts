/**
 * What a caller's deadline and cancellation look like to everything that is done for it: the part of
 * AbortSignal that is used, so that a lighter one can stand in where there are ten thousand a second.
 */
export type CallSignal = {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
};

/** A signal and what aborts it; listeners are called once. */
export type CallController = { readonly signal: CallSignal; abort(): void };

/** A signal that is not aborted. */
export function createCallController(): CallController {
  let aborted = false;
  let listeners: (() => void)[] = [];
  return {
    signal: {
      get aborted() {
        return aborted;
      },
      addEventListener(_type, listener) {
        if (!aborted) listeners.push(listener);
      },
      removeEventListener(_type, listener) {
        const at = listeners.indexOf(listener);
        if (at >= 0) listeners.splice(at, 1);
      },
    },
    abort() {
      if (aborted) return;
      aborted = true;
      const told = listeners;
      listeners = [];
      for (const listener of told) listener();
    },
  };
}
