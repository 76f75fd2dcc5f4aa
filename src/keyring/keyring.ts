/**
 * The heart: which key encrypts now, under which key_id, and who can decrypt what. Knows no
 * provider by name and nothing of gRPC.
 */
import type { Log } from '../observe/log.ts';
import { fail, type ProviderError, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import type { Clock } from '../system/clock.ts';
import type { KeyId } from './key-id.ts';
import { patiently } from './patience.ts';
import { verifyDecrypts } from './self-test.ts';
import { type AnnouncedKey, isTransient, type KeyringState, knownKey, nextState } from './state.ts';
import { createWatcher } from './watcher.ts';

/** A fresh ciphertext and the key that made it. */
export type Encrypted = {
  readonly ciphertext: Uint8Array;
  readonly keyId: KeyId;
  readonly version: number;
};

/** How much of a fresh ciphertext is proven before it is answered. */
export type Verification =
  /** Decrypted again and compared. */
  | 'decrypt'
  /** Prefix, version and length, which the provider checks of every reply. */
  | 'form';

export type Keyring = {
  /** Begins to watch the key; returns at once, whatever the providers do. */
  start(): void;
  stop(): Promise<void>;
  state(): KeyringState;
  /** Encrypts under exactly the version that Status announces now. */
  encrypt(
    plaintext: Uint8Array,
    verification: Verification,
    signal: AbortSignal,
  ): Promise<Result<Encrypted>>;
  /** Decrypts what any version of any configured provider's key has made. */
  decrypt(ciphertext: Uint8Array, signal: AbortSignal): Promise<Result<Uint8Array>>;
  /** The key version that a ciphertext names, for logs; undefined where nobody knows its form. */
  versionOf(ciphertext: Uint8Array): number | undefined;
};

export type KeyringOptions = {
  /** Encrypts; its key is the one that is announced. */
  readonly writer: Provider;
  /** All that decrypt, in the order in which they are asked; the writer is one of them. */
  readonly readers: readonly Provider[];
  /** How often the key is read while all is well, in milliseconds. */
  readonly watchIntervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
};

/** A keyring that has not started yet. */
export function createKeyring(options: KeyringOptions): Keyring {
  const { writer, readers, clock, log } = options;
  let state: KeyringState = { kind: 'starting', since: clock.now(), why: undefined };
  const waiting = new Set<() => void>();

  const report = (seen: Result<AnnouncedKey>): void => {
    const before = state;
    state = nextState(before, seen, clock.now());
    logChange(log, before, state, clock.now());
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

  const changed = (signal: AbortSignal): Promise<void> =>
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

  const announcedKey = async (signal: AbortSignal): Promise<Result<AnnouncedKey>> => {
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
    if (outcome.ok ? !healthy : healthy && outcome.error.kind !== 'invalid') void watcher.nudge();
  };

  const encryptOnce = async (
    key: AnnouncedKey,
    plaintext: Uint8Array,
    verification: Verification,
    signal: AbortSignal,
  ): Promise<Result<Encrypted>> => {
    const encrypted = first(writer, await writer.encrypt([plaintext], key.version, signal));
    if (!encrypted.ok) return encrypted;
    if (verification === 'decrypt') {
      const verified = await verifyDecrypts(writer, encrypted.value, plaintext, signal);
      if (!verified.ok) return verified;
    }
    return succeed({ ciphertext: encrypted.value, keyId: key.keyId, version: key.version });
  };

  const decryptOnce = async (
    ciphertext: Uint8Array,
    signal: AbortSignal,
  ): Promise<Result<Uint8Array>> => {
    let worst: Result<Uint8Array> | undefined;
    for (const reader of readers) {
      if (reader.versionOf(ciphertext) === undefined) continue;
      const outcome = first(reader, await reader.decrypt([ciphertext], signal));
      if (outcome.ok) return outcome;
      // As long as one that might have the key was not reached, nothing definitive can be said.
      if (worst === undefined || (!worst.ok && !isTransient(worst.error.kind))) worst = outcome;
    }
    return worst ?? fail('invalid', unknownForm(readers));
  };

  return {
    start(): void {
      for (const reader of readers) reader.start();
      watcher.start();
    },
    async stop(): Promise<void> {
      watcher.stop();
      await Promise.all(readers.map((reader) => reader.stop()));
    },
    state: () => state,
    async encrypt(plaintext, verification, signal) {
      const key = await announcedKey(signal);
      if (!key.ok) return key;
      const attempt = async (): Promise<Result<Encrypted>> => {
        const outcome = await encryptOnce(
          knownKey(state) ?? key.value,
          plaintext,
          verification,
          signal,
        );
        learnFrom(outcome);
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
      const attempt = async (): Promise<Result<Uint8Array>> => {
        const outcome = await decryptOnce(ciphertext, signal);
        learnFrom(outcome);
        return outcome;
      };
      const outcome = await patiently(attempt, changed, clock, signal);
      const version = outcome.ok ? writer.versionOf(ciphertext) : undefined;
      if (version !== undefined && state.kind === 'ready' && version > state.key.version) {
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
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function first(provider: Provider, results: readonly Result<Uint8Array>[]): Result<Uint8Array> {
  return results[0] ?? fail('internal', `${provider.name} answered no item`);
}

function notReached(name: string, why: ProviderError | undefined): string {
  return why === undefined
    ? `${name} has not been reached yet`
    : `${name} has not been reached yet: ${why.message}`;
}

function unknownForm(readers: readonly Provider[]): string {
  const names = readers.map((reader) => reader.name).join(', ');
  return `the ciphertext is not of a form that a configured provider (${names}) writes; it is empty, cut, damaged, or another plugin's`;
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
