/** Decrypting with patience, and out of memory while nobody answers. */
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import { type CallSignal, createCallController } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import { mayPass } from './backoff.ts';
import type { Lane } from './batcher.ts';
import type { Failures } from './failures.ts';
import {
  decryptUnder,
  parseUnderLocalKek,
  type UnderLocalKek,
  versionUnderLocalKek,
  type WrappedKek,
} from './local-kek.ts';
import type { Operations } from './operations.ts';
import type { OutageMemory } from './outage-memory.ts';
import { patiently } from './patience.ts';
import type { Pings } from './pings.ts';
import type { Purpose } from './purpose.ts';
import { type KeyringState, knownKey } from './state.ts';

/** A ciphertext and what was stored beside it. */
export type Sealed = {
  readonly ciphertext: Uint8Array;
  readonly purpose: Purpose;
  /** The key_id that was announced when it was made, by whomever. */
  readonly keyId?: string;
  /** What {@link Encrypted.localKek} was. */
  readonly localKek?: Uint8Array | undefined;
};

export type Decrypting = {
  decrypt(sealed: Sealed, signal: CallSignal): Promise<Result<Uint8Array>>;
  /** One try, the answer of which is remembered where somebody may need it again. */
  once(sealed: Sealed, signal: CallSignal): Promise<Result<Uint8Array>>;
};

export type DecryptingOptions = {
  readonly operations: Operations;
  readonly writer: Provider;
  /** Whether the writer is the only one that decrypts. */
  readonly alone: boolean;
  readonly memory: OutageMemory | undefined;
  readonly pings: Pings;
  readonly failures: Failures;
  readonly state: () => KeyringState;
  readonly abandoned: () => boolean;
  readonly clock: Clock;
  /** Told that the provider has refused, and in what words. */
  readonly refused: (why: string) => void;
  /** Told that a server does not know the announced version. */
  readonly sawMissingVersion: () => void;
  /** Has the announced key decrypt its sample in the request that leaves next. */
  readonly proveKey: (signal: CallSignal) => void;
  /** Told that a version was seen that is newer than the one announced. */
  readonly sawNewerVersion: () => void;
  /** Told that a provider which is not known to be away has not answered in time. */
  readonly sawTimeout: () => void;
};

/**
 * How long the providers that are there have to answer or to refuse what is in memory, while another one that may
 * have made it is away. A host that drops what is sent to it would take all of the caller's time, for each call.
 */
const OTHERS_MS = 500;

/** Decrypts with the operations given. */
export function createDecrypting(options: DecryptingOptions): Decrypting {
  const { operations, writer, alone, memory, state, clock } = options;

  /** Whether the announced key's policy is known to rule it out. */
  const isRuledOut = (ciphertext: Uint8Array): boolean => {
    const least = knownKey(state())?.description.minDecryptionVersion;
    const version = writer.versionOf(ciphertext);
    return alone && least !== undefined && version !== undefined && version < least;
  };

  const once: Decrypting['once'] = (sealed, signal) => {
    const { ciphertext, purpose } = sealed;
    const isPing = purpose === 'dek' && options.pings.has(ciphertext);
    const lane = isPing ? 'urgent' : 'ordinary';
    if (isPing) options.proveKey(signal);
    return memory === undefined
      ? operations.decrypt(ciphertext, lane, signal)
      : remembering(memory, sealed, lane, signal);
  };

  /** One try, the answer of which is remembered, or remembered from before where nobody can be asked. */
  const remembering = async (
    memory: OutageMemory,
    { ciphertext, purpose }: Sealed,
    lane: Lane,
    signal: CallSignal,
  ): Promise<Result<Uint8Array>> => {
    const remember = memory.remembering();
    const outcome = await operations.decrypt(ciphertext, lane, signal);
    const now = state();
    if (outcome.ok) {
      if (purpose !== 'sample' && now.kind !== 'refused')
        remember(ciphertext, outcome.value, false);
      return outcome;
    }
    const { kind, message, retired } = outcome.error;
    // That one is refused which policy had ruled out before is no news of the others. Of several
    // providers one may have done so; that the writer has is seen when it is looked at.
    const isOfThis = isRuledOut(ciphertext) || (retired === true && !alone);
    if (kind === 'denied' && isOfThis) memory.drop(ciphertext);
    else if (kind === 'denied' || kind === 'unauthenticated') options.refused(message);
    // What a lost key has encrypted, nobody else can decrypt any more.
    const isLost = now.kind === 'lost' && kind === 'invalid';
    if (now.kind === 'refused' || (!mayPass(outcome.error) && !isLost)) return outcome;
    const remembered = memory.decrypt(ciphertext);
    return remembered === undefined ? outcome : succeed(remembered);
  };

  /**
   * One attempt. The cache answers where each provider that may have made the ciphertext is known to be down:
   * every other Decrypt is in the audit log. A provider that is known to be down is not waited for.
   */
  const attempt = (sealed: Sealed, signal: CallSignal): Promise<Result<Uint8Array>> => {
    if (memory === undefined) return once(sealed, signal);
    const availability = operations.availability(sealed.ciphertext);
    const remembered = availability === 'all' ? undefined : memory.decrypt(sealed.ciphertext);
    if (remembered === undefined) return once(sealed, signal);
    if (availability === 'none') return Promise.resolve(succeed(remembered));
    remembered.fill(0);
    return decryptWithAvailable(memory, sealed, signal);
  };

  /** A failure of those that are available is not final: the provider that made the ciphertext may be down. */
  const decryptWithAvailable = async (
    memory: OutageMemory,
    sealed: Sealed,
    signal: CallSignal,
  ): Promise<Result<Uint8Array>> => {
    const { ciphertext, purpose } = sealed;
    const remember = memory.remembering();
    let isLate = false;
    const outcome = await withinLimit(
      OTHERS_MS,
      signal,
      (limited) => operations.decrypt(ciphertext, 'ordinary', limited, 'available'),
      () => {
        isLate = true;
      },
    );
    if (outcome.ok) {
      if (purpose !== 'sample' && state().kind !== 'refused')
        remember(ciphertext, outcome.value, false);
      return outcome;
    }
    if (isLate) options.sawTimeout();
    // A refusal has emptied the cache.
    const remembered = memory.decrypt(ciphertext);
    return remembered === undefined ? await once(sealed, signal) : succeed(remembered);
  };

  /** Asks for at most so long, and no longer than the caller waits. */
  const withinLimit = async (
    ms: number,
    signal: CallSignal,
    ask: (limited: CallSignal) => Promise<Result<Uint8Array>>,
    late: () => void,
  ): Promise<Result<Uint8Array>> => {
    const limit = createCallController();
    const timer = clock.setTimer(ms, () => {
      late();
      limit.abort();
    });
    signal.addEventListener('abort', limit.abort, { once: true });
    if (signal.aborted) limit.abort();
    try {
      return await ask(limit.signal);
    } finally {
      timer.cancel();
      signal.removeEventListener('abort', limit.abort);
    }
  };

  /** One try with each source in turn, those that need no provider first. */
  const attemptSources = async (
    sealed: Sealed,
    under: UnderLocalKek,
    signal: CallSignal,
  ): Promise<Result<Uint8Array>> => {
    const isKnown = ({ source }: WrappedKek): boolean => memory?.knows(source) ?? false;
    const { wrapped } = under;
    const inTurn = [...wrapped.filter(isKnown), ...wrapped.filter((one) => !isKnown(one))];
    let failed: Result<Uint8Array> | undefined;
    for (const one of inTurn) {
      const seed = await attempt({ ...sealed, ciphertext: one.source }, signal);
      const outcome = seed.ok ? decryptUnder(under, one, seed.value) : seed;
      if (outcome.ok) return outcome;
      // One that cannot be reached for this source cannot be for the next one.
      if (mayPass(outcome.error) && outcome.error.kind !== 'behind') return outcome;
      // What may still pass outweighs what cannot: then nothing definitive is known.
      if (failed === undefined || mayPass(outcome.error)) failed = outcome;
    }
    return failed ?? fail('internal', 'a local KEK without a source was parsed');
  };

  const withSources = async (
    sealed: Sealed,
    localKek: Uint8Array | undefined,
    signal: CallSignal,
  ): Promise<Result<Uint8Array>> => {
    const parsed = parseUnderLocalKek(sealed.ciphertext, localKek);
    if (!parsed.ok) return parsed;
    const ask = (): Promise<Result<Uint8Array>> => attemptSources(sealed, parsed.value, signal);
    return await patient(await ask(), ask, signal);
  };

  const patient = (
    first: Result<Uint8Array>,
    ask: () => Promise<Result<Uint8Array>>,
    signal: CallSignal,
  ): Promise<Result<Uint8Array>> | Result<Uint8Array> => {
    // Where the version is known to be lost, no server is about to catch up.
    const isLost = !first.ok && first.error.kind === 'behind' && state().kind === 'lost';
    return first.ok || isLost
      ? first
      : patiently(first, ask, { signal, useless: options.abandoned, clock });
  };

  return {
    once,
    async decrypt(sealed, signal) {
      const { ciphertext, localKek, purpose } = sealed;
      const underLocalKek = versionUnderLocalKek(ciphertext);
      let outcome =
        underLocalKek === undefined
          ? await attempt(sealed, signal)
          : await withSources(sealed, localKek, signal);
      if (underLocalKek === undefined && !outcome.ok)
        outcome = await patient(outcome, () => attempt(sealed, signal), signal);
      const version = underLocalKek ?? writer.versionOf(ciphertext);
      if (!outcome.ok) {
        if (outcome.error.kind === 'behind' && version === knownKey(state())?.version)
          options.sawMissingVersion();
        // What fails on a keyring that was replaced is asked of the next one.
        if (purpose !== 'sample' && !options.abandoned()) {
          if (signal.cancelled === true) options.failures.sawCancelled();
          else options.failures.saw('decrypt', outcome.error, version);
        }
        return outcome;
      }
      const after = state();
      if (underLocalKek === undefined && after.kind === 'ready') {
        if ((version ?? 0) > after.key.version) options.sawNewerVersion();
      }
      return outcome;
    },
  };
}
