/**
 * What a person is told of the keyring's state: each change of it once, and trouble that lasts again
 * every few minutes, so that the log of any hour shows it. A state that changes all the time, as under a
 * quota that is spent each second, is told a few times and then counted.
 */
import type { Log } from '../observe/log.ts';
import type { Clock } from '../system/clock.ts';
import type { KeyId } from './key-id.ts';
import { acknowledgedInUse } from './lost-key.ts';
import { type KeyringState, raisedMinimum } from './state.ts';

export type StateLog = {
  /** Logs what is new in `after`. */
  changed(before: KeyringState, after: KeyringState): void;
  /** After each look at the provider: the looks that failed in a row, and when the next one begins. */
  scheduled(state: KeyringState, failures: number, nextInMs: number): void;
  /** The key was tried out in so many milliseconds: encrypted with, and decrypted with. */
  tried(tookMs: number): void;
};

type Trouble = Exclude<KeyringState, { kind: 'ready' }>;

/** How often trouble that lasts is logged again. */
const REMINDER_MS = 5 * 60_000;
/** So many outages, or reasons of one, are logged at once in that time. */
const MOST_AT_ONCE = 3;
/** What lasts so long is logged, however many came before. */
const LASTING_MS = 10_000;
/** Outages that were not logged by themselves are logged as a sum, the first time after this. */
const FIRST_SUM_MS = 60_000;

/** Half of the time that kube-apiserver gives a call by default. */
const SLOW_MS = 1_500;

/** A log of a keyring that starts; `isAcknowledged` says whether an operator has called a key lost. */
export function createStateLog(
  log: Log,
  clock: Clock,
  isAcknowledged: (keyId: KeyId) => boolean = () => false,
): StateLog {
  let loggedAt = clock.now();
  let slowAt = Number.NEGATIVE_INFINITY;
  /** What was logged last. */
  let told: KeyringState | undefined;
  /** Since when the state is another one than that. */
  let untoldSince: number | undefined;
  /** When outages were logged at once. */
  let atOnce: readonly number[] = [];
  const uncounted = { outages: 0, milliseconds: 0, why: '', nextAt: 0 };

  /** Whether one more transient line is all right now; it is counted. */
  const mayTell = (): boolean => {
    atOnce = atOnce.filter((at) => clock.now() - at < REMINDER_MS);
    if (atOnce.length >= MOST_AT_ONCE) return false;
    atOnce = [...atOnce, clock.now()];
    return true;
  };

  const announced = (before: KeyringState, after: KeyringState & { kind: 'ready' }): void => {
    log.info?.('key announced', {
      keyId: after.key.keyId,
      keyVersion: after.key.version,
      after: before.kind,
      ...(before.kind === 'ready' ? {} : { seconds: secondsSince(before.since) }),
    });
    const { keyId } = after.key;
    if (isAcknowledged(keyId))
      log.warn?.('the loss of the key in use is acknowledged', {
        keyId,
        why: acknowledgedInUse(keyId),
      });
  };

  const tell = (
    state: Trouble,
    more: Readonly<Record<string, string | number | undefined>> = {},
  ): void => {
    loggedAt = clock.now();
    told = state;
    untoldSince = undefined;
    sayTrouble(log, state, more);
  };

  const endOfUntold = (before: KeyringState): void => {
    if (before.kind !== 'outage') return;
    const now = clock.now();
    if (uncounted.outages === 0) uncounted.nextAt = Math.max(uncounted.nextAt, now + FIRST_SUM_MS);
    uncounted.outages += 1;
    uncounted.milliseconds += now - before.since;
    uncounted.why = before.why.message;
  };

  const tellSum = (): void => {
    const { outages, milliseconds, why, nextAt } = uncounted;
    if (outages === 0 || clock.now() < nextAt) return;
    const seconds = Math.round(milliseconds / 1000);
    log.warn?.('provider was unavailable now and then', { outages, seconds, why });
    Object.assign(uncounted, { outages: 0, milliseconds: 0, nextAt: clock.now() + REMINDER_MS });
  };

  return {
    changed(before, after) {
      const minDecryptionVersion = raisedMinimum(before, after);
      if (minDecryptionVersion !== undefined)
        log.warn?.('earlier versions ruled out', { minDecryptionVersion, why: RULED_OUT });
      if (after.kind === 'ready') {
        const same = told?.kind === 'ready' && told.key.keyId === after.key.keyId;
        if (before.kind !== 'ready' && told?.kind !== before.kind) endOfUntold(before);
        untoldSince = undefined;
        if (same) return;
        told = after;
        announced(before, after);
        return;
      }
      if (told?.kind === after.kind && isSame(told.why?.message, after.why?.message)) {
        untoldSince = undefined;
        return;
      }
      if (!isPassing(after) || mayTell()) tell(after);
      else untoldSince ??= clock.now();
    },
    scheduled(state, failures, nextInMs) {
      tellSum();
      if (state.kind === 'ready') return;
      const lasts = untoldSince !== undefined && clock.now() + nextInMs - untoldSince >= LASTING_MS;
      if (!lasts && clock.now() - loggedAt < REMINDER_MS) return;
      tell(state, {
        since: new Date(clock.timeOfDay(state.since)).toISOString(),
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
}

/** Trouble that may end by itself, and come again. */
function isPassing({ kind }: Trouble): boolean {
  return kind === 'starting' || kind === 'outage';
}

function sayTrouble(
  log: Log,
  state: Trouble,
  more: Readonly<Record<string, string | number | undefined>>,
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

const SLOW =
  'encrypting and decrypting together take this long, as each Encrypt of KMS v2 does, and kube-apiserver waits 3 s by default: raise timeout of the kms provider in its EncryptionConfiguration, or find out what is slow';

const RULED_OUT =
  'kube-apiserver reads what is stored under an earlier version from its memory alone now, not after a restart, and with KMS v2 for a day at most: unless all of that is written again, lower min_decryption_version';

/** Times and counts in a sentence change with each look, and are no news. */
function isSame(a: string | undefined, b: string | undefined): boolean {
  return withoutNumbers(a) === withoutNumbers(b);
}

function withoutNumbers(sentence: string | undefined): string | undefined {
  return sentence?.replace(/\d+/g, '0');
}
