/**
 * What a caller's deadline and cancellation look like to everything that is done for it: the part of
 * AbortSignal that is used, so that a lighter one can stand in where there are ten thousand a second.
 */
export type CallSignal = {
  readonly aborted: boolean;
  /** Its caller went away before its deadline: nobody waits for what becomes of it. */
  readonly cancelled?: boolean;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
};

/** A signal and what aborts it; listeners are called once. */
export type CallController = {
  readonly signal: CallSignal;
  abort(): void;
  /** Aborts it since its caller went away. */
  cancel(): void;
};

/** Its first listener, which is the only one of most calls, needs no list. */
type State = {
  aborted: boolean;
  cancelled: boolean;
  first: (() => void) | undefined;
  others: (() => void)[] | undefined;
  readonly addEventListener: typeof addEventListener;
  readonly removeEventListener: typeof removeEventListener;
};

/** A signal that is not aborted. */
export function createCallController(): CallController {
  const signal: State = {
    aborted: false,
    cancelled: false,
    first: undefined,
    others: undefined,
    addEventListener,
    removeEventListener,
  };
  return { signal, abort: () => abort(signal), cancel: () => cancel(signal) };
}

function addEventListener(this: State, _type: 'abort', listener: () => void): void {
  if (this.aborted) return;
  if (this.first === undefined) this.first = listener;
  else if (this.others === undefined) this.others = [listener];
  else this.others.push(listener);
}

function removeEventListener(this: State, _type: 'abort', listener: () => void): void {
  if (this.first === listener) {
    this.first = this.others?.shift();
    return;
  }
  const at = this.others?.indexOf(listener) ?? -1;
  if (at >= 0) this.others?.splice(at, 1);
}

function cancel(signal: State): void {
  signal.cancelled ||= !signal.aborted;
  abort(signal);
}

function abort(signal: State): void {
  if (signal.aborted) return;
  signal.aborted = true;
  const { first, others } = signal;
  signal.first = undefined;
  signal.others = undefined;
  first?.();
  for (const listener of others ?? []) listener();
}
