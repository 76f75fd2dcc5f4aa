/** The caller's deadline and cancellation as one signal for everything that is done for a call. */
import type { ServerUnaryCall } from '@grpc/grpc-js';
import { type CallSignal, createCallController } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';

/** A caller without a deadline waits no longer than this. */
const NO_DEADLINE_MS = 30_000;
/** Left for the reply to travel, so that the caller reads what is wrong instead of timing out. */
const REPLY_MARGIN_MS = 100;
const REPLY_MARGIN_SHARE = 0.1;

/** `release` must be called when the call has been worked on; calling it again does nothing. */
export type LimitedCall = { readonly signal: CallSignal; readonly release: () => void };

/** A signal that aborts shortly before the deadline of a call and when its caller goes away. */
export function callSignal(
  call: Pick<ServerUnaryCall<unknown, unknown>, 'getDeadline' | 'on' | 'off' | 'cancelled'>,
  clock: Clock,
): LimitedCall {
  const { signal, abort, cancel } = createCallController();
  // grpc-js reckons deadlines by the machine's clock, and so does this.
  const left = Math.min(+call.getDeadline() - Date.now(), NO_DEADLINE_MS);
  const timer = clock.setTimer(left - Math.min(REPLY_MARGIN_MS, left * REPLY_MARGIN_SHARE), abort);
  call.on('cancelled', cancel);
  if (call.cancelled) cancel();
  return {
    signal,
    release(): void {
      timer.cancel();
      call.off('cancelled', cancel);
    },
  };
}

/** Milliseconds in a unit of gRPC's `grpc-timeout`; undefined for a character that is none. */
function unitMs(unit: string | undefined): number | undefined {
  switch (unit) {
    case 'H':
      return 3_600_000;
    case 'M':
      return 60_000;
    case 'S':
      return 1_000;
    case 'm':
      return 1;
    case 'u':
      return 0.001;
    case 'n':
      return 0.000_001;
    default:
      return undefined;
  }
}

const MAX_TIMEOUT_DIGITS = 8;
const ZERO = 0x30;
const NINE = 0x39;
/** No call lasts so long; grpc-js counts in 32 bits, and takes 597 hours for a time that has passed. */
const MAX_TIMEOUT = { ms: 3_600_000, header: '1H' };
const NO_TIMEOUT = 'of another form';

/**
 * The value of `grpc-timeout` as grpc-js may have it: of the form that gRPC's protocol gives it, and of
 * an hour at most; less what the call has waited, since grpc-js counts from now. What is not of that form
 * stands for itself no more, and grpc-js refuses it.
 */
export function boundedTimeout(header: string, waitedMs = 0): string {
  const digits = header.length - 1;
  const ms = unitMs(header[digits]);
  if (ms === undefined || digits < 1 || digits > MAX_TIMEOUT_DIGITS) return NO_TIMEOUT;
  let count = 0;
  for (let i = 0; i < digits; i += 1) {
    const code = header.charCodeAt(i);
    if (code < ZERO || code > NINE) return NO_TIMEOUT;
    count = count * 10 + (code - ZERO);
  }
  if (waitedMs > 0) {
    const left = Math.min(count * ms, MAX_TIMEOUT.ms) - waitedMs;
    return `${Math.max(1, Math.floor(left))}m`;
  }
  return count * ms > MAX_TIMEOUT.ms ? MAX_TIMEOUT.header : header;
}
