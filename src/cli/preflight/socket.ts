/** Whether a new process could serve on the socket of kube-apiserver, whose rights are checked at each start. */
import type { ResolvedConfig } from '../../config/environment.ts';
import { inheritedRefusal } from '../../system/inherited-serving.ts';
import { makingRefusal } from '../../system/unix-socket.ts';
import type { Step } from './proof.ts';

/**
 * Looks at what is there, and makes nothing.
 *
 * @param inherited the path of the socket that systemd would hand over; undefined where the process would make its own
 */
export function proveSocket(
  { socket: path, group, sharedDirectory: shared }: ResolvedConfig['listen'],
  inherited: string | undefined,
): Step {
  const refusal =
    inherited === undefined
      ? makingRefusal({ path, group, shared })
      : inheritedRefusal(inherited, shared);
  const step = 'socket';
  return refusal === undefined
    ? { step, ok: true, what: `${inherited ?? path} can be served` }
    : { step, ok: false, what: refusal.problem };
}
