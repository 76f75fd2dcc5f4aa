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
import { createWatcher } from './watcher.ts';

export type Keyring = {
  /** Begins to watch the key; returns at once, whatever the providers do. */
  start(): void;
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

/** A keyring that has not started yet. */
export function createKeyring(options: KeyringOptions): Keyring {
  const { writer, readers, clock, log } = options;
  let state: KeyringState = { kind: 'starting', since: clock.now(), why: undefined };
  const waiting = new Set<() => void>();
  const operations = createOperations(writer, readers, clock);
  const cache = options.cache && createDecryptCache(options.cache, clock);

  const report = (seen: Result<AnnouncedKey>): void => {
    const before = state;
    state = nextState(before, seen, clock.now());
    logChange(log, before, state, clock.now());
    if (state.kind === 'refused') cache?.clear();
    // A look that succeeded, or that made up its mind, is what waiting calls wait for.
    if (state.kind === 'ready' || state.kind !== before.kind) {
      const wake = [...waiting];
      waiting.clear();
      for (const resume of wake) resume();
    }
  };
  const watcher = createWatcher({
    provider: writer,
    intervalMs: options.watchIntervalMs,
    clock,
    state: () => state,
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
    while (state.kind === 'starting' && !signal.aborted) await changed(signal);
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

  /** What a real call saw is news for the watcher, good or bad. */
  const learnFrom = (outcome: Result<unknown>): void => {
    const healthy = state.kind === 'ready';
    if (outcome.ok ? !healthy : healthy && concernsAll(outcome.error.kind)) void watcher.nudge();
  };

  return {
    start(): void {
      for (const reader of readers) reader.start();
      watcher.start();
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
      const attempt = async (): Promise<Result<Encrypted>> => {
        const current = knownKey(state) ?? key.value;
        const outcome = await operations.encrypt(current, plaintext, verification, signal);
        learnFrom(outcome);
        // What is written now is what a kube-apiserver that starts again reads first.
        if (outcome.ok) cache?.put(outcome.value.ciphertext, plaintext);
        return outcome;
      };
      const outcome = await patiently(attempt, changed, clock, signal);
      if (outcome.ok || isTransient(outcome.error.kind)) return outcome;
      // The announced version may just have been taken away: look once before saying no.
      const before = knownKey(state)?.keyId;
      await Promise.race([watcher.nudge(), aborted(signal)]);
      if (knownKey(state)?.keyId !== before) return await attempt();
      // Vault answers 403 to an encrypt with a missing key; the look knows better what is wrong.
      return state.kind === 'refused' ? { ok: false, error: state.why } : outcome;
    },
    async decrypt(ciphertext, signal) {
      // Only while the provider is away: what can be asked is asked, and stands in its audit log.
      const remembered = state.kind === 'outage' ? cache?.get(ciphertext) : undefined;
      if (remembered !== undefined) return succeed(remembered);
      const attempt = async (): Promise<Result<Uint8Array>> => {
        const outcome = await operations.decrypt(ciphertext, signal);
        learnFrom(outcome);
        if (outcome.ok || !isTransient(outcome.error.kind)) return outcome;
        const cached = cache?.get(ciphertext);
        return cached === undefined ? outcome : succeed(cached);
      };
      const outcome = await patiently(attempt, changed, clock, signal);
      const version = outcome.ok ? writer.versionOf(ciphertext) : undefined;
      if (version !== undefined && state.kind === 'ready' && version > state.key.version) {
        void watcher.nudge();
      }
      if (outcome.ok && state.kind !== 'refused') cache?.put(ciphertext, outcome.value);
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
