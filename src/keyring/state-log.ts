/** What a person is told of the keyring's state: each change of it once. */
import type { Log } from '../observe/log.ts';
import type { KeyringState } from './state.ts';

/** Logs what is new in `after`; `now` in milliseconds since the epoch. */
export function logChange(log: Log, before: KeyringState, after: KeyringState, now: number): void {
  switch (after.kind) {
    case 'ready':
      if (before.kind === 'ready' && before.key.keyId === after.key.keyId) return;
      log.info?.('key announced', {
        keyId: after.key.keyId,
        keyVersion: after.key.version,
        after: before.kind,
        ...(before.kind === 'ready' ? {} : { seconds: Math.round((now - before.since) / 1000) }),
      });
      return;
    case 'starting':
      if (before.kind === 'starting' && before.why?.message === after.why?.message) return;
      log.warn?.('provider not reached yet', { why: after.why?.message });
      return;
    case 'outage':
    case 'refused':
      if (before.kind === after.kind && before.why.message === after.why.message) return;
      if (after.kind === 'outage') log.warn?.('provider unavailable', { why: after.why.message });
      else log.error('provider refuses', { kind: after.why.kind, why: after.why.message });
  }
}
