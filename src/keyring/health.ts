/**
 * The health table, decided in one place from the keyring's state alone: what Status announces and
 * whether the node counts as ready.
 *
 * A valid key_id with a bad healthz lets kube-apiserver write on with the seed in its memory while
 * its readiness shows the trouble; an error stops writes after three minutes (kubernetes#138950).
 */
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { KeyId } from './key-id.ts';
import type { KeyringState } from './state.ts';

/** `ok` is the one word that kube-apiserver takes for healthy. */
export type Health = { readonly healthz: string; readonly keyId: KeyId };

/**
 * What Status says of a state.
 *
 * @param now milliseconds since the epoch
 * @param outageGraceMs how long an outage keeps the last key_id; undefined means without limit
 */
export function healthOf(
  state: KeyringState,
  now: number,
  outageGraceMs: number | undefined,
): Result<Health> {
  switch (state.kind) {
    case 'starting': {
      const text = startingText(state.why?.message);
      return state.key === undefined
        ? fail('unavailable', text)
        : withinGrace(state.key.keyId, text, now - state.since, outageGraceMs);
    }
    case 'ready':
      return succeed({ healthz: 'ok', keyId: state.key.keyId });
    case 'outage': {
      const lasted = now - state.since;
      const text = `provider unavailable for ${Math.round(lasted / 1000)} s: ${state.why.message}`;
      return withinGrace(state.key.keyId, text, lasted, outageGraceMs);
    }
    // Writing on under a key that is lost would lose what is written.
    case 'lost':
    case 'refused':
      return { ok: false, error: state.why };
  }
}

function withinGrace(
  keyId: KeyId,
  healthz: string,
  lasted: number,
  outageGraceMs: number | undefined,
): Result<Health> {
  return outageGraceMs !== undefined && lasted > outageGraceMs
    ? fail('unavailable', `${healthz} (longer than outageGrace)`)
    : succeed({ healthz, keyId });
}

function startingText(why: string | undefined): string {
  return why === undefined
    ? 'the provider has not been reached yet'
    : `the provider has not been reached yet: ${why}`;
}
