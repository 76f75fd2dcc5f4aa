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
