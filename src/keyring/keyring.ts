/**
 * The heart: which key encrypts now, under which key_id, and who can decrypt what. Knows no
 * provider by name and nothing of gRPC.
 */

import type { Log } from '../observe/log.ts';
import {
  fail,
  type ProviderError,
  type ProviderErrorKind,
  type Result,
  succeed,
} from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import type { CacheLimits } from './cache.ts';
import { createDecrypting } from './decrypting.ts';
import { versionUnderLocalKek } from './local-kek.ts';
import { createOperations, type Encrypted, type Verification } from './operations.ts';
import { createOutageMemory, type Remembered } from './outage-memory.ts';
import { patiently } from './patience.ts';
import type { Purpose } from './purpose.ts';
import { type AnnouncedKey, isTransient, type KeyringState, knownKey, nextState } from './state.ts';
import { logChange } from './state-log.ts';
import { createSuspicion } from './suspicion.ts';
import { createWaiters } from './waiters.ts';
import { createWatcher } from './watcher.ts';

export type Keyring = {
  /** Begins to watch the key; returns at once, whatever the providers do. */
  start(): void;
  /**
   * Fails what waits with `unavailable`, now and later, so that it can begin anew on another keyring:
   * what this one has sent ends by itself where the provider is well, and is given up otherwise.
   */
  abandon(): void;
  stop(): Promise<void>;
  state(): KeyringState;
  /**
   * Encrypts under exactly the version that Status announces now; a seed, while the provider is away
   * and the memory for outages is on, under a local KEK, whose source this version has encrypted.
   */
  encrypt(plaintext: Uint8Array, purpose: Purpose, signal: CallSignal): Promise<Result<Encrypted>>;
  /**
   * Decrypts what any version of any configured provider's key has made, by itself or through a
   * local KEK, whose source must then be given.
   */
  decrypt(
    ciphertext: Uint8Array,
    purpose: Purpose,
    signal: CallSignal,
    kekSource?: Uint8Array,
  ): Promise<Result<Uint8Array>>;
  /** The key version that a ciphertext names, for logs; undefined where nobody knows its form. */
  versionOf(ciphertext: Uint8Array): number | undefined;
  /** How many calls wait for a free request to a provider. */
  queued(): number;
  /** What is kept for an outage; undefined where nothing is to be. */
  remembered(): Remembered | undefined;
};

export type KeyringOptions = {
  /** Encrypts; its key is the one that is announced. */
  readonly writer: Provider;
  /** All that decrypt, in the order in which they are asked; the writer is one of them. */
  readonly readers: readonly Provider[];
  /** How often the key is read while all is well, in milliseconds. */
  readonly watchIntervalMs: number;
  /** Bounds the memory for when the provider is away; undefined for none. */
  readonly cache?: CacheLimits | undefined;
  readonly clock: Clock;
  readonly log: Log;
};

const VERIFICATION: Readonly<Record<Purpose, Verification>> = {
  seed: 'decrypt',
  dek: 'form',
  sample: 'decrypt',
};
/**
 * No seed is encrypted without the provider before it has been away for so long: the seed lives as
 * long as its kube-apiserver, and that asks again within seconds.
 */
const SEED_WAITS_MS = 10_000;
/** As many callers as the providers' queues take may wait for the first contact. */
const MOST_WAITING = 4096;

/** A keyring that has not started yet. */
export function createKeyring(options: KeyringOptions): Keyring {
  const { writer, readers, clock, log } = options;
  let state: KeyringState = { kind: 'starting', since: clock.now(), why: undefined };
  let abandoned = false;
  /** The look that a failed request has led to, until it has ended. */
  let confirming: Promise<void> | undefined;
  const waiters = createWaiters();
  const suspicion = createSuspicion(clock);

  const forget = (why: string): void => {
    if (memory?.forget()) log.warn?.('what was kept for an outage is forgotten', { why });
  };

  const report = (seen: Result<AnnouncedKey>): void => {
    const before = state;
    state = nextState(before, seen, clock.now());
    logChange(log, before, state, clock.now());
    if (state.kind === 'refused') forget(state.why.message);
    if (mayDecryptLess(before, state)) forget('min_decryption_version was raised');
    memory?.sweep();
    if (state.kind !== 'ready' || before.kind !== 'ready') suspicion.clear();
    if (!seen.ok && seen.error.retryAfterMs !== undefined) operations.writer.saw([seen]);
    // A look that succeeded, or that made up its mind, is what waiting calls wait for.
    if (state.kind === 'ready') operations.writer.recovered();
    if (state.kind === 'ready' || state.kind !== before.kind) waiters.wake();
  };

  /** What real calls see is news for the watcher, good or bad. */
  const learn = (results: readonly Result<unknown>[]): void => {
    if (results.some(({ ok }) => ok)) {
      if (state.kind !== 'ready') void watcher.nudge();
      return;
    }
    const failed = results.find((result) => !result.ok && concernsAll(result.error.kind));
    if (state.kind !== 'ready' || failed === undefined || failed.ok) return;
    const { error } = failed;
    const asked = (error.retryAfterMs ?? 0) > 0;
    // One that asks to be left alone has said what is wrong: the look waits until it may.
    if (asked) report({ ok: false, error });
    if (!asked && !suspicion.worthALook(error.kind)) return;
    confirming = watcher.nudge().finally(() => {
      confirming = undefined;
    });
  };

  const operations = createOperations({ writer, readers, clock, sawWriter: learn });
  const watcher = createWatcher({
    provider: writer,
    intervalMs: options.watchIntervalMs,
    clock,
    state: () => state,
    notBefore: operations.writer.askedUntil,
    report,
    upkeep: () => memory?.confirm(),
  });

  const announcedKey = async (signal: CallSignal): Promise<Result<AnnouncedKey>> => {
    if (waiters.size >= MOST_WAITING)
      return fail('overloaded', `${waiters.size} calls wait for ${writer.name} already`);
    while (state.kind === 'starting' && !signal.aborted && !abandoned) await waiters.wait(signal);
    const key = knownKey(state);
    if (key !== undefined) return succeed(key);
    switch (state.kind) {
      case 'refused':
        return { ok: false, error: state.why };
      default:
        return fail(
          'unavailable',
          notReached(writer.name, state.kind === 'starting' ? state.why : undefined),
        );
    }
  };

  const encryptOnce = async (
    announced: AnnouncedKey,
    plaintext: Uint8Array,
    purpose: Purpose,
    signal: CallSignal,
  ): Promise<Result<Encrypted>> => {
    const local = purpose === 'seed' ? encryptLocally(plaintext) : undefined;
    if (local !== undefined) return succeed(local);
    const key = knownKey(state) ?? announced;
    const outcome = await operations.encrypt(key, plaintext, VERIFICATION[purpose], signal);
    // What is written now is what a kube-apiserver that starts again reads first.
    if (outcome.ok && purpose !== 'sample' && state.kind !== 'refused')
      memory?.remember(outcome.value.ciphertext, plaintext);
    return outcome;
  };

  const encryptLocally = (plaintext: Uint8Array): Encrypted | undefined => {
    // One that is only too busy answers soon.
    if (state.kind !== 'outage' || state.why.kind === 'throttled') return undefined;
    if (clock.now() - state.since < SEED_WAITS_MS) return undefined;
    const local = memory?.encrypt(plaintext, state.key);
    if (local === undefined) return undefined;
    const { keyId, version: keyVersion } = local;
    log.warn?.('seed encrypted under a local KEK', { keyId, keyVersion });
    return local;
  };

  const memory =
    options.cache &&
    createOutageMemory({
      limits: options.cache,
      clock,
      decrypt: (ciphertext, signal) => decrypting.once(ciphertext, 'dek', signal),
    });
  const decrypting = createDecrypting({
    operations,
    writer,
    alone: readers.length === 1,
    memory,
    state: () => state,
    abandoned: () => abandoned,
    refused: forget,
    sawNewerVersion(): void {
      if (suspicion.worthALook('newer version')) void watcher.nudge();
    },
  });

  return {
    start(): void {
      for (const reader of readers) reader.start();
      watcher.start();
    },
    abandon(): void {
      abandoned = true;
      waiters.wake();
      operations.abandon(state.kind !== 'ready');
    },
    async stop(): Promise<void> {
      watcher.stop();
      memory?.stop();
      await operations.idle();
      memory?.forget();
      await Promise.all(readers.map((reader) => reader.stop()));
    },
    state: () => state,
    async encrypt(plaintext, purpose, signal) {
      const key = await announcedKey(signal);
      if (!key.ok) return key;
      const attempt = (): Promise<Result<Encrypted>> =>
        encryptOnce(key.value, plaintext, purpose, signal);
      const first = await attempt();
      if (first.ok) return first;
      const outcome = await patiently(first, attempt, { signal, useless: () => abandoned });
      if (outcome.ok || isTransient(outcome.error.kind)) return outcome;
      // The announced version may just have been taken away: look once before saying no.
      const before = knownKey(state)?.keyId;
      if (state.kind !== 'refused') {
        await Promise.race([confirming ?? watcher.nudge(), aborted(signal)]);
      }
      if (knownKey(state)?.keyId !== before) return await attempt();
      // Where the look could not ask, what the provider said to the call stands.
      if (state.kind === 'outage' && outcome.error.kind !== 'invalid')
        forget(outcome.error.message);
      // Vault answers 403 to an encrypt with a missing key; the look knows better what is wrong.
      return state.kind === 'refused' ? { ok: false, error: state.why } : outcome;
    },
    decrypt: decrypting.decrypt,
    versionOf(ciphertext) {
      for (const reader of readers) {
        const version = reader.versionOf(ciphertext);
        if (version !== undefined) return version;
      }
      return versionUnderLocalKek(ciphertext);
    },
    queued: operations.queued,
    remembered: () => memory?.remembered(knownKey(state)),
  };
}

/** Whether policy has taken versions away from those that decrypt: what they made must be forgotten. */
function mayDecryptLess(before: KeyringState, after: KeyringState): boolean {
  const [was, is] = [knownKey(before), knownKey(after)];
  if (was === undefined || is === undefined) return false;
  return is.description.minDecryptionVersion > was.description.minDecryptionVersion;
}

/** Whether a failure says something of the provider, and not only of one call. */
function concernsAll(kind: ProviderErrorKind): boolean {
  return kind !== 'invalid' && kind !== 'overloaded';
}

function aborted(signal: CallSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function notReached(name: string, why: ProviderError | undefined): string {
  return why === undefined
    ? `${name} has not been reached yet`
    : `${name} has not been reached yet: ${why.message}`;
}
