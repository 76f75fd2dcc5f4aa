/** The keyring's state as /readyz shows it to people and probes. */
import { type KeyringState, knownKey } from '../keyring/state.ts';
import type { Readiness } from '../observe/admin.ts';

/** Ready means: the provider answered lately, and nothing stands against using the key. */
export function readinessOf(state: KeyringState, now: number): Readiness {
  const key = knownKey(state);
  return {
    ready: state.kind === 'ready',
    detail: {
      state: state.kind,
      ...(key === undefined ? {} : { keyId: key.keyId, keyVersion: key.version }),
      ...(state.kind === 'ready'
        ? {}
        : { seconds: Math.round((now - state.since) / 1000), why: state.why?.message }),
    },
  };
}
