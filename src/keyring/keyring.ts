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
import type { KeyDescription, Provider } from '../providers/provider.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import { type Lane, MOST_CALLS } from './batcher.ts';
import type { CacheLimits } from './cache.ts';
import { createDecrypting, type Sealed } from './decrypting.ts';
import { createEncrypting, isRefusal } from './encrypting.ts';
import { createFailures, type Failures } from './failures.ts';
import { beginOf, type HandedOver, type Left } from './handed-over.ts';
import type { KeyId } from './key-id.ts';
import { versionUnderLocalKek } from './local-kek.ts';
import { createOperations, type Encrypted } from './operations.ts';
import { createOutageMemory, type Kept, type Remembered } from './outage-memory.ts';
import { createPings } from './pings.ts';
import type { Purpose } from './purpose.ts';
import { createReaderChecks, type ReaderTrouble } from './reader-checks.ts';
import type { Sample } from './self-test.ts';
import {
  type AnnouncedKey,
  type KeyringState,
  knownKey,
  nextState,
  raisedMinimum,
  type Seen,
} from './state.ts';
import { createStateLog } from './state-log.ts';
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
   * and the memory for outages is on, under a local KEK, whose sources this version has encrypted.
   */
  encrypt(plaintext: Uint8Array, purpose: Purpose, signal: CallSignal): Promise<Result<Encrypted>>;
  /**
   * Decrypts what any version of any configured provider's key has made, by itself or through a
   * local KEK, which must then be given as it was stored.
   */
  decrypt(sealed: Sealed, signal: CallSignal): Promise<Result<Uint8Array>>;
  /** The key version that a ciphertext names, for logs; undefined where nobody knows its form. */
  versionOf(ciphertext: Uint8Array): number | undefined;
  /** How many calls wait for a free request to a provider. */
  queued(): number;
  /** The decrypt-only providers that are known to be down or to refuse. */
  readerTroubles(): readonly ReaderTrouble[];
  /** Whether the provider of this name, which only decrypts, would: what came of its first check. */
  readerChecked(name: string): Promise<Result<void>>;
  /** The keys whose material this process has in memory: of all providers, or of the one of this name. */
  loaded(provider?: string): readonly KeyDescription[];
  /** What is kept for an outage; undefined where nothing is to be. */
  remembered(): Remembered | undefined;
  /** What the provider has made of the seeds that may become sources of local KEKs: not secret. */
  sources(): readonly Uint8Array[];
  /** Ciphertexts of the last entries that are kept for an outage; not secret, and few: LIMITS.askedAgain. */
  ciphertexts(): readonly Uint8Array[];
  /** What the announced key was tried out with last; undefined before the first time. */
  sample(): Sample | undefined;
  /** Gives up what is kept for an outage; undefined where nothing is to be. */
  release(): Kept | undefined;
  /** Goes on with what a keyring of the same providers has kept for an outage. */
  inherit(kept: Kept | undefined): void;
  /**
   * Has its own providers decrypt what a keyring of other providers has kept for an outage; does nothing
   * unless it is ready.
   */
  adopt(left: Left): void;
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
  /** Whether an operator has said that this announced key is lost for good; asked at each look. */
  readonly isAcknowledged?: (lost: KeyId) => boolean;
  /** What the process before this one has announced. */
  readonly remembered?: HandedOver | undefined;
  /**
   * Has a key_id that takes the place of another one outlive the process before it is announced; it
   * never fails, and is bounded.
   */
  readonly announcing?: (key: AnnouncedKey, sample: Sample | undefined) => Promise<void>;
  /** Where calls that fail are counted; its own where it is not given. */
  readonly failures?: Failures;
  readonly clock: Clock;
  readonly log: Log;
};

/** As many callers as the providers' queues take may wait for the first contact. */
const MOST_WAITING: Readonly<Record<Lane, number>> = {
  ordinary: MOST_CALLS.ordinary,
  urgent: MOST_CALLS.ordinary + MOST_CALLS.urgent,
};

/** A keyring that has not started yet. */
export function createKeyring(options: KeyringOptions): Keyring {
  const { writer, readers, clock, log } = options;
  const earlier = options.remembered;
  const isUsed = earlier?.isConfigured === true && earlier.stopped === undefined;
  const remembered = isUsed ? earlier : undefined;
  let state: KeyringState = {
    kind: 'starting',
    ...(remembered === undefined ? {} : { key: remembered.key }),
    since: beginOf(remembered?.awaySince, clock.now()),
    why: undefined,
  };
  let sample: Sample | undefined;
  let abandoned = false;
  /** Whether a server has said since the key was tried out that it does not know the announced version. */
  let isMissing = false;
  /** The look that a failed request has led to, until it has ended. */
  let confirming: Promise<void> | undefined;
  const waiters = createWaiters();
  const pings = createPings();
  const { failures = createFailures(log, clock) } = options;
  const suspicion = createSuspicion(clock);
  const { isAcknowledged = () => false } = options;
  const stateLog = createStateLog(log, clock, isAcknowledged);

  const forget = (why: string): void => {
    if (memory?.forget()) log.warn?.('what was kept for an outage is forgotten', { why });
  };

  /**
   * Seeds become sources again under the key_id that they were encrypted under, and no other. What policy
   * rules out is not asked for: its refusal would have all of it forgotten.
   */
  const adopt = (left: Left, { keyId, description }: AnnouncedKey): void => {
    const { minDecryptionVersion: least } = description;
    const allowed = (all: readonly Uint8Array[]): readonly Uint8Array[] =>
      all.filter((one) => (writer.versionOf(one) ?? least) >= least);
    const sources = allowed(left.sources);
    const others = allowed(left.ciphertexts);
    memory?.adopt(left.key.keyId === keyId ? sources : [], [...sources, ...others]);
  };

  const report = (seen: Seen): void => {
    const before = state;
    state = nextState(before, seen, clock.now());
    stateLog.changed(before, state);
    if (state.kind === 'refused') forget(state.why.message);
    if (state.kind === 'ready') {
      memory?.announce(state.key.keyId);
      if (before.kind === 'starting' && earlier !== undefined) adopt(earlier, state.key);
    }
    const least = raisedMinimum(before, state);
    if (least !== undefined) memory?.dropBelow(least);
    memory?.sweep();
    if (state.kind !== 'ready' || before.kind !== 'ready') suspicion.clear();
    if (!seen.ok && seen.error.retryAfterMs !== undefined) operations.writer.saw([seen]);
    // A look that succeeded, or that made up its mind, is what waiting calls wait for.
    if (state.kind === 'ready') operations.writer.recovered();
    if (state.kind === 'ready' || state.kind !== before.kind) waiters.wake();
  };

  const sawMissingVersion = (): void => {
    isMissing = true;
    if (suspicion.worthALook('behind')) void watcher.nudge();
  };

  const proveKey = (signal: CallSignal): void => {
    if (sample === undefined || state.kind !== 'ready') return;
    void operations.prove(sample.ciphertext, 'urgent', signal).then((proved) => {
      if (!proved.ok && proved.error.kind === 'invalid' && suspicion.worthALook('invalid'))
        void watcher.nudge();
    });
  };

  /** What real calls see is news for the watcher, good or bad. */
  const learn = (results: readonly Result<unknown>[]): void => {
    if (results.some(({ ok }) => ok)) {
      // That other versions still decrypt says nothing of the one that is lost.
      if (state.kind !== 'ready' && state.kind !== 'lost') void watcher.nudge();
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

  const operations = createOperations({
    writer,
    readers,
    clock,
    sample: () => sample?.ciphertext,
    sawWriter: learn,
    // One that has not the announced version is there, and can be asked for the others.
    isWriterAway: () => state.kind === 'outage' && state.why.kind !== 'behind',
    // Of the writer's refusals each call knows which ciphertext they were about.
    sawOther(reader, results) {
      const isNews = (result: Result<unknown>): boolean =>
        !result.ok && concernsAll(result.error.kind) && result.error.retired !== true;
      checks.checkSoon(reader, !results.every(isNews));
      // That its policy rules out one version is known to the call that asked for it.
      const refusal = results.find(
        (result) => !result.ok && isRefusal(result.error.kind) && result.error.retired !== true,
      );
      if (refusal?.ok === false) forget(refusal.error.message);
    },
  });
  const checks = createReaderChecks({
    readers: readers.filter((reader) => reader !== writer),
    ...{ clock, log, refused: forget },
    saw: operations.sawReader,
  });
  const watcher = createWatcher({
    provider: writer,
    intervalMs: options.watchIntervalMs,
    clock,
    state: () => state,
    notBefore: operations.writer.askedUntil,
    isAcknowledged,
    async announcing(key) {
      await options.announcing?.(key, sample);
    },
    earlier,
    sample: () => sample,
    reads: (ciphertext, signal) => operations.decrypt(ciphertext, 'ordinary', signal),
    report,
    triedOut(tried, ms) {
      sample = tried;
      isMissing = false;
      stateLog.tried(ms);
    },
    scheduled: (failures, nextInMs) => stateLog.scheduled(state, failures, nextInMs),
    upkeep: () => memory?.confirm(),
  });

  const announcedKey = async (lane: Lane, signal: CallSignal): Promise<Result<AnnouncedKey>> => {
    if (waiters.size >= MOST_WAITING[lane])
      return fail('overloaded', `${waiters.size} calls wait for ${writer.name} already`);
    while (state.kind === 'starting' && !signal.aborted && !abandoned) await waiters.wait(signal);
    const key = state.kind === 'starting' ? undefined : knownKey(state);
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

  const memory =
    options.cache &&
    createOutageMemory({
      limits: options.cache,
      clock,
      versionOf: writer.versionOf,
      decrypt: (ciphertext, signal) => decrypting.once({ ciphertext, purpose: 'dek' }, signal),
    });
  const decrypting = createDecrypting({
    operations,
    writer,
    alone: readers.length === 1,
    memory,
    pings,
    failures,
    state: () => state,
    abandoned: () => abandoned,
    clock,
    refused: forget,
    sawMissingVersion,
    proveKey,
    sawTimeout() {
      for (const reader of readers) checks.checkSoon(reader, false);
    },
    sawNewerVersion(): void {
      if (suspicion.worthALook('newer version')) void watcher.nudge();
    },
  });

  const encrypting = createEncrypting({
    operations,
    memory,
    pings,
    failures,
    state: () => state,
    announcedKey,
    abandoned: () => abandoned,
    refused: forget,
    sawMissingVersion,
    isMissing: () => isMissing,
    look: () => confirming ?? watcher.nudge(),
    clock,
    log,
  });

  return {
    start(): void {
      writer.onChange?.(() => void watcher.nudge());
      for (const reader of readers) reader.start();
      watcher.start();
      checks.start();
    },
    abandon(): void {
      abandoned = true;
      waiters.wake();
      operations.abandon(state.kind !== 'ready');
    },
    async stop(): Promise<void> {
      watcher.stop();
      checks.stop();
      memory?.stop();
      await operations.idle();
      memory?.forget();
      await Promise.all(readers.map((reader) => reader.stop()));
    },
    state: () => state,
    encrypt: encrypting.encrypt,
    decrypt: decrypting.decrypt,
    versionOf(ciphertext) {
      for (const reader of readers) {
        const version = reader.versionOf(ciphertext);
        if (version !== undefined) return version;
      }
      return versionUnderLocalKek(ciphertext);
    },
    queued: operations.queued,
    readerTroubles: checks.troubles,
    readerChecked: checks.first,
    loaded: (provider) =>
      readers
        .filter(({ name }) => provider === undefined || name === provider)
        .flatMap((reader) => reader.loaded?.() ?? []),
    remembered: () => memory?.remembered(),
    sources: () => memory?.sources() ?? [],
    ciphertexts: () => memory?.ciphertexts() ?? [],
    sample: () => sample,
    release: () => memory?.release(),
    inherit(kept) {
      // Before it is ready nobody knows whether the provider still allows what was kept.
      if (kept === undefined || state.kind !== 'ready') return;
      memory?.inherit(kept);
      memory?.dropBelow(state.key.description.minDecryptionVersion);
    },
    adopt(left) {
      if (state.kind === 'ready') adopt(left, state.key);
    },
  };
}

/** Whether a failure says something of the provider, and not only of one call. */
function concernsAll(kind: ProviderErrorKind): boolean {
  return kind !== 'invalid' && kind !== 'behind' && kind !== 'overloaded';
}

function notReached(name: string, why: ProviderError | undefined): string {
  return why === undefined
    ? `${name} has not been reached yet`
    : `${name} has not been reached yet: ${why.message}`;
}
