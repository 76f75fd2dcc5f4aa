/**
 * What a person is told of the keyring's state: each change of it once, and trouble that lasts again
 * every few minutes, so that the log of any hour shows it.
 */
import type { Log } from '../observe/log.ts';
import type { Clock } from '../system/clock.ts';
import type { KeyringState } from './state.ts';

export type StateLog = {
  /** Logs what is new in `after`. */
  changed(before: KeyringState, after: KeyringState): void;
  /** After each look at the provider: the looks that failed in a row, and when the next one begins. */
  scheduled(state: KeyringState, failures: number, nextInMs: number): void;
  /** The key was tried out in so many milliseconds: encrypted with, and decrypted with. */
  tried(tookMs: number): void;
};

/** How often trouble that lasts is logged again. */
const REMINDER_MS = 5 * 60_000;

/** Half of the time that kube-apiserver gives a call by default. */
const SLOW_MS = 1_500;

/** A log of a keyring that starts. */
export function createStateLog(log: Log, clock: Clock): StateLog {
  let loggedAt = clock.now();
  let slowAt = Number.NEGATIVE_INFINITY;

  return {
    changed(before, after) {
      if (after.kind === 'ready') {
        if (before.kind === 'ready' && before.key.keyId === after.key.keyId) return;
        log.info?.('key announced', {
          keyId: after.key.keyId,
          keyVersion: after.key.version,
          after: before.kind,
          ...(before.kind === 'ready' ? {} : { seconds: secondsSince(before.since) }),
        });
        return;
      }
      if (before.kind === after.kind && isSame(before.why?.message, after.why?.message)) return;
      loggedAt = clock.now();
      tell(after, {});
    },
    scheduled(state, failures, nextInMs) {
      if (state.kind === 'ready' || clock.now() - loggedAt < REMINDER_MS) return;
      loggedAt = clock.now();
      tell(state, {
        since: new Date(state.since).toISOString(),
        seconds: secondsSince(state.since),
        tries: failures,
        nextTrySeconds: Math.ceil(nextInMs / 1000),
      });
    },
    tried(tookMs) {
      if (tookMs < SLOW_MS || clock.now() - slowAt < REMINDER_MS) return;
      slowAt = clock.now();
      log.warn?.('provider slow', { milliseconds: Math.round(tookMs), why: SLOW });
    },
  };

  function secondsSince(since: number): number {
    return Math.round((clock.now() - since) / 1000);
  }

  function tell(
    state: Exclude<KeyringState, { kind: 'ready' }>,
    more: Readonly<Record<string, string | number>>,
  ): void {
    const why = state.why?.message;
    switch (state.kind) {
      case 'starting':
        log.warn?.('provider not reached yet', { why, ...more });
        return;
      case 'outage':
        log.warn?.('provider unavailable', { why, ...more });
        return;
      case 'refused':
        log.error('provider refuses', { kind: state.why.kind, why, ...more });
        return;
      case 'lost': {
        const { keyId, version: keyVersion } = state.key;
        log.error('announced key lost', { keyId, keyVersion, why, ...more });
      }
    }
  }
}

const SLOW =
  'encrypting and decrypting together take this long, as each Encrypt of KMS v2 does, and kube-apiserver waits 3 s by default: raise timeout of the kms provider in its EncryptionConfiguration, or find out what is slow';

/** Times and counts in a sentence change with each look, and are no news. */
function isSame(a: string | undefined, b: string | undefined): boolean {
  return withoutNumbers(a) === withoutNumbers(b);
}

function withoutNumbers(sentence: string | undefined): string | undefined {
  return sentence?.replace(/\d+/g, '0');
}
