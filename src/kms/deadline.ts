/** The caller's deadline and cancellation as one signal for everything that is done for a call. */
import type { ServerUnaryCall } from '@grpc/grpc-js';
import { type CallSignal, createCallController } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';

/** A caller without a deadline waits no longer than this. */
const NO_DEADLINE_MS = 30_000;
/** Left for the reply to travel, so that the caller reads what is wrong instead of timing out. */
const REPLY_MARGIN_MS = 100;
const REPLY_MARGIN_SHARE = 0.1;

/**
 * A signal that aborts shortly before the deadline of a call and when its caller goes away.
 * `release` must be called when the call has been worked on.
 */
export function callSignal(
  call: Pick<ServerUnaryCall<unknown, unknown>, 'getDeadline' | 'on' | 'off' | 'cancelled'>,
  clock: Clock,
): { readonly signal: CallSignal; readonly release: () => void } {
  const { signal, abort } = createCallController();
  // grpc-js reckons deadlines by the machine's clock, and so does this.
  const left = Math.min(+call.getDeadline() - Date.now(), NO_DEADLINE_MS);
  const timer = clock.setTimer(left - Math.min(REPLY_MARGIN_MS, left * REPLY_MARGIN_SHARE), abort);
  call.on('cancelled', abort);
  if (call.cancelled) abort();
  return {
    signal,
    release(): void {
      timer.cancel();
      call.off('cancelled', abort);
    },
  };
}

/** In the units of gRPC's `grpc-timeout`, in milliseconds. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ['H', 3_600_000],
  ['M', 60_000],
  ['S', 1_000],
  ['m', 1],
  ['u', 0.001],
  ['n', 0.000_001],
]);
/** No call lasts so long; grpc-js counts in 32 bits, and takes 597 hours for a time that has passed. */
const MAX_TIMEOUT = { ms: 3_600_000, header: '1H' };

/**
 * The value of `grpc-timeout` as grpc-js may have it: of the form that gRPC's protocol gives it, and of
 * an hour at most. What is not of that form stands for itself no more, and grpc-js refuses it.
 */
export function boundedTimeout(header: string): string {
  const [, digits = '', unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(header) ?? [];
  const ms = Number(digits) * (UNITS.get(unit) ?? Number.NaN);
  if (Number.isNaN(ms)) return 'of another form';
  return ms > MAX_TIMEOUT.ms ? MAX_TIMEOUT.header : header;
}
