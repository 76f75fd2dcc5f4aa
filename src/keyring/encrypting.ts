/** Encrypting under the announced key with patience, and a seed without the provider while that is away. */
import type { Log } from '../observe/log.ts';
import {
  type ProviderError,
  type ProviderErrorKind,
  type Result,
  succeed,
} from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import type { Lane } from './batcher.ts';
import type { Failures } from './failures.ts';
import type { KeyId } from './key-id.ts';
import type { Encrypted, Operations, Verification } from './operations.ts';
import type { OutageMemory } from './outage-memory.ts';
import { patiently } from './patience.ts';
import type { Pings } from './pings.ts';
import { LANE_OF, type Purpose } from './purpose.ts';
import { type AnnouncedKey, isTransient, type KeyringState, knownKey } from './state.ts';

export type Encrypting = {
  encrypt(plaintext: Uint8Array, purpose: Purpose, signal: CallSignal): Promise<Result<Encrypted>>;
};

export type EncryptingOptions = {
  readonly operations: Operations;
  readonly memory: OutageMemory | undefined;
  readonly state: () => KeyringState;
  /** Waits for the first contact with the provider. */
  readonly announcedKey: (lane: Lane, signal: CallSignal) => Promise<Result<AnnouncedKey>>;
  readonly pings: Pings;
  readonly failures: Failures;
  readonly abandoned: () => boolean;
  /** Told that the provider has refused, and in what words. */
  readonly refused: (why: string) => void;
  /** Told that a server does not know the announced version. */
  readonly sawMissingVersion: () => void;
  /** Whether a server has said so, and no look has found that version since. */
  readonly isMissing: () => boolean;
  /** Looks at the provider; resolves when that look has ended. */
  readonly look: () => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
};

const VERIFICATION: Readonly<Record<Purpose, Verification>> = {
  seed: 'decrypt',
  dek: 'form',
  ping: 'form',
  sample: 'decrypt',
};
/**
 * No seed is encrypted without the provider before it has been away for so long: the seed lives as
 * long as its kube-apiserver, and that asks again within seconds.
 */
const SEED_WAITS_MS = 10_000;

type Failed = Extract<Result<never>, { ok: false }>;

/** Encrypts with the operations given. */
export function createEncrypting(options: EncryptingOptions): Encrypting {
  const { operations, memory, state, clock, log } = options;

  const once = async (
    announced: AnnouncedKey,
    plaintext: Uint8Array,
    purpose: Purpose,
    signal: CallSignal,
  ): Promise<Result<Encrypted>> => {
    const local = purpose === 'seed' ? locally(plaintext) : undefined;
    if (local !== undefined) return succeed(local);
    const usable = keyFor(purpose, state(), announced);
    if (!usable.ok) return usable;
    const key = usable.value;
    const remember = memory?.remembering();
    const outcome = await operations.encrypt(
      key,
      plaintext,
      VERIFICATION[purpose],
      LANE_OF[purpose],
      signal,
    );
    if (outcome.ok && purpose === 'ping') options.pings.made(outcome.value.ciphertext);
    const now = state();
    // What is written now is what a kube-apiserver that starts again reads first.
    if (outcome.ok && isStored(purpose) && now.kind !== 'refused') {
      const ofAnnounced = outcome.value.keyId === knownKey(now)?.keyId;
      remember?.(outcome.value.ciphertext, plaintext, purpose === 'seed' && ofAnnounced);
    }
    return outcome;
  };

  const locally = (plaintext: Uint8Array): Encrypted | undefined => {
    const now = state();
    // One that is only too busy answers soon, and one that answers wrongly is there.
    if (now.kind !== 'outage' || now.why.kind !== 'unavailable') return undefined;
    // A provider that went away before it could be asked for that version may have lost it.
    if (options.isMissing()) return undefined;
    if (clock.now() - now.since < SEED_WAITS_MS) return undefined;
    const made = memory?.encrypt(plaintext, now.key);
    if (made === undefined) return undefined;
    const { keyId, version: keyVersion } = made;
    log.warn?.('seed encrypted under a local KEK', { keyId, keyVersion });
    return made;
  };

  /** Where the look could not ask, what the provider said to a call is its last word. */
  const stands = ({ message }: ProviderError): void => {
    if (state().kind === 'outage') options.refused(message);
  };

  /** What becomes of a call whose first attempt has failed; `tried` is the key of that attempt. */
  const again = async (
    first: Failed,
    announced: AnnouncedKey,
    plaintext: Uint8Array,
    purpose: Purpose,
    signal: CallSignal,
    triedFirst: KeyId | undefined,
  ): Promise<Result<Encrypted>> => {
    /** The key of the last attempt: another one may have been announced while it was under way. */
    let tried = triedFirst;
    const attempt = (): Promise<Result<Encrypted>> => {
      tried = knownKey(state())?.keyId;
      return once(announced, plaintext, purpose, signal);
    };
    if (first.error.kind === 'behind') options.sawMissingVersion();
    const outcome = await patiently(first, attempt, {
      signal,
      useless: options.abandoned,
      clock,
    });
    if (outcome.ok || isTransient(outcome.error.kind)) return outcome;
    // The announced version may just have been taken away: look once before saying no.
    const before = state();
    if (before.kind !== 'refused' && before.kind !== 'lost') {
      const look = options.look();
      if (isRefusal(outcome.error.kind)) void look.then(() => stands(outcome.error));
      await Promise.race([look, aborted(signal)]);
    }
    const after = state();
    const isLost = after.kind === 'lost' && before.kind !== 'lost';
    if (isLost || knownKey(after)?.keyId !== tried) return await attempt();
    // A provider may say 'denied' or 'invalid' of a key that is missing; the look knows why.
    const isKnown =
      after.kind === 'refused' ||
      after.kind === 'lost' ||
      (after.kind === 'outage' && outcome.error.kind === 'invalid');
    return isKnown ? { ok: false, error: after.why } : outcome;
  };

  return {
    async encrypt(plaintext, purpose, signal) {
      const now = state();
      const key =
        now.kind === 'ready'
          ? succeed(now.key)
          : await options.announcedKey(LANE_OF[purpose], signal);
      let outcome: Result<Encrypted>;
      if (key.ok) {
        const tried = knownKey(state())?.keyId;
        outcome = await once(key.value, plaintext, purpose, signal);
        if (!outcome.ok)
          outcome = await again(outcome, key.value, plaintext, purpose, signal, tried);
      } else outcome = key;
      if (!outcome.ok) outcome = notOfCaller(outcome);
      // What fails on a keyring that was replaced is asked of the next one.
      if (!outcome.ok && purpose !== 'sample' && !options.abandoned()) {
        if (signal.cancelled === true) options.failures.sawCancelled();
        else options.failures.saw('encrypt', outcome.error, knownKey(state())?.version);
      }
      return outcome;
    },
  };
}

/**
 * The key to encrypt with. Where the announced one is lost, an earlier version of it still serves
 * KMS v1, whose replies carry no key_id: each object that is written again is rescued. Another key
 * serves only the health check, a failure of which has kube-apiserver restarted up to Kubernetes
 * 1.28: its memory is what still reads the objects of the lost key.
 */
function keyFor(
  purpose: Purpose,
  now: KeyringState,
  announced: AnnouncedKey,
): Result<AnnouncedKey> {
  if (now.kind !== 'lost') return succeed(knownKey(now) ?? announced);
  const { instead } = now;
  const serves = purpose === 'ping' || (purpose === 'dek' && instead.how === 'behind');
  return serves ? succeed(instead.key) : { ok: false, error: now.why };
}

/**
 * Its plaintext was checked before: whatever a provider finds invalid of it, or of its own fresh
 * ciphertext, is no fault of the caller.
 */
function notOfCaller(failed: Failed): Failed {
  const { error } = failed;
  return error.kind === 'invalid' ? { ok: false, error: { ...error, kind: 'denied' } } : failed;
}

function isStored(purpose: Purpose): boolean {
  return purpose === 'seed' || purpose === 'dek';
}

/** Whether it is a no, and not about this one call alone. */
export function isRefusal(kind: ProviderErrorKind): boolean {
  return kind === 'denied' || kind === 'unauthenticated';
}

function aborted(signal: CallSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
