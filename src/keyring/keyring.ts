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
import { type CacheLimits, createDecryptCache } from './cache.ts';
import { createOperations, type Encrypted, type Verification } from './operations.ts';
import { patiently } from './patience.ts';
import { type AnnouncedKey, isTransient, type KeyringState, knownKey, nextState } from './state.ts';
import { createSuspicion } from './suspicion.ts';
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
  /** Encrypts under exactly the version that Status announces now. */
  encrypt(
    plaintext: Uint8Array,
    verification: Verification,
    signal: CallSignal,
  ): Promise<Result<Encrypted>>;
  /** Decrypts what any version of any configured provider's key has made. */
  decrypt(ciphertext: Uint8Array, signal: CallSignal): Promise<Result<Uint8Array>>;
  /** The key version that a ciphertext names, for logs; undefined where nobody knows its form. */
  versionOf(ciphertext: Uint8Array): number | undefined;
  /** How many calls wait for a free request to a provider. */
  queued(): number;
};

export type KeyringOptions = {
  /** Encrypts; its key is the one that is announced. */
  readonly writer: Provider;
  /** All that decrypt, in the order in which they are asked; the writer is one of them. */
  readonly readers: readonly Provider[];
  /** How often the key is read while all is well, in milliseconds. */
  readonly watchIntervalMs: number;
  /** Keeps what was decrypted for when the provider is away; undefined for not at all. */
  readonly cache?: CacheLimits | undefined;
  readonly clock: Clock;
  readonly log: Log;
};

/** As many callers as the providers' queues take may wait for the first contact. */
const MOST_WAITING = 4096;

/** A keyring that has not started yet. */
export function createKeyring(options: KeyringOptions): Keyring {
  const { writer, readers, clock, log } = options;
  let state: KeyringState = { kind: 'starting', since: clock.now(), why: undefined };
  let abandoned = false;
  /** The look that a failed request has led to, until it has ended. */
  let confirming: Promise<void> | undefined;
  const waiting = new Set<() => void>();
  const suspicion = createSuspicion(clock);
  const cache = options.cache && createDecryptCache(options.cache, clock);

  const wake = (): void => {
    const woken = [...waiting];
    waiting.clear();
    for (const resume of woken) resume();
  };

  const report = (seen: Result<AnnouncedKey>): void => {
    const before = state;
    state = nextState(before, seen, clock.now());
    logChange(log, before, state, clock.now());
    if (state.kind === 'refused' || mayDecryptLess(before, state)) cache?.clear();
    cache?.sweep();
    if (state.kind !== 'ready' || before.kind !== 'ready') suspicion.clear();
    if (!seen.ok && seen.error.retryAfterMs !== undefined) operations.writer.saw([seen]);
    // A look that succeeded, or that made up its mind, is what waiting calls wait for.
    if (state.kind === 'ready') operations.writer.recovered();
    if (state.kind === 'ready' || state.kind !== before.kind) wake();
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
  });

  const changed = (signal: CallSignal): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const resume = (): void => {
        waiting.delete(resume);
        signal.removeEventListener('abort', resume);
        resolve();
      };
      waiting.add(resume);
      signal.addEventListener('abort', resume, { once: true });
    });

  const announcedKey = async (signal: CallSignal): Promise<Result<AnnouncedKey>> => {
    if (waiting.size >= MOST_WAITING)
      return fail('overloaded', `${waiting.size} calls wait for ${writer.name} already`);
    while (state.kind === 'starting' && !signal.aborted && !abandoned) await changed(signal);
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
    key: AnnouncedKey,
    plaintext: Uint8Array,
    verification: Verification,
    signal: CallSignal,
  ): Promise<Result<Encrypted>> => {
    const outcome = await operations.encrypt(
      knownKey(state) ?? key,
      plaintext,
      verification,
      signal,
    );
    // What is written now is what a kube-apiserver that starts again reads first.
    if (outcome.ok && state.kind !== 'refused') cache?.put(outcome.value.ciphertext, plaintext);
    return outcome;
  };

  const decryptOnce = async (
    ciphertext: Uint8Array,
    signal: CallSignal,
  ): Promise<Result<Uint8Array>> => {
    const outcome = await operations.decrypt(ciphertext, signal);
    if (cache === undefined) return outcome;
    if (outcome.ok) {
      if (state.kind !== 'refused') cache.put(ciphertext, outcome.value);
      return outcome;
    }
    if (outcome.error.kind === 'denied') cache.clear();
    if (state.kind === 'refused' || !isTransient(outcome.error.kind)) return outcome;
    const remembered = cache.get(ciphertext);
    return remembered === undefined ? outcome : succeed(remembered);
  };

  return {
    start(): void {
      for (const reader of readers) reader.start();
      watcher.start();
    },
    abandon(): void {
      abandoned = true;
      wake();
      operations.abandon(state.kind !== 'ready');
    },
    async stop(): Promise<void> {
      watcher.stop();
      await operations.idle();
      cache?.clear();
      await Promise.all(readers.map((reader) => reader.stop()));
    },
    state: () => state,
    async encrypt(plaintext, verification, signal) {
      const key = await announcedKey(signal);
      if (!key.ok) return key;
      const attempt = (): Promise<Result<Encrypted>> =>
        encryptOnce(key.value, plaintext, verification, signal);
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
      // Vault answers 403 to an encrypt with a missing key; the look knows better what is wrong.
      return state.kind === 'refused' ? { ok: false, error: state.why } : outcome;
    },
    async decrypt(ciphertext, signal) {
      // Only while the provider is away: what can be asked is asked, and stands in its audit log.
      const remembered = state.kind === 'outage' ? cache?.get(ciphertext) : undefined;
      if (remembered !== undefined) return succeed(remembered);
      const first = await decryptOnce(ciphertext, signal);
      const outcome = first.ok
        ? first
        : await patiently(first, () => decryptOnce(ciphertext, signal), {
            signal,
            useless: () => abandoned,
          });
      if (outcome.ok && state.kind === 'ready') {
        const version = writer.versionOf(ciphertext) ?? 0;
        if (version > state.key.version && suspicion.worthALook('newer version'))
          void watcher.nudge();
      }
      return outcome;
    },
    versionOf(ciphertext) {
      for (const reader of readers) {
        const version = reader.versionOf(ciphertext);
        if (version !== undefined) return version;
      }
      return undefined;
    },
    queued: operations.queued,
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

function logChange(log: Log, before: KeyringState, after: KeyringState, now: number): void {
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
