/** Decrypting with patience, and out of memory while nobody can be asked. */
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import type { CallSignal } from '../system/call-signal.ts';
import {
  decryptUnder,
  KEK_SOURCE_ANNOTATION,
  parseUnderLocalKek,
  versionUnderLocalKek,
} from './local-kek.ts';
import type { Operations } from './operations.ts';
import type { OutageMemory } from './outage-memory.ts';
import { patiently } from './patience.ts';
import type { Purpose } from './purpose.ts';
import { isTransient, type KeyringState, knownKey } from './state.ts';

export type Decrypting = {
  /** As {@link Keyring.decrypt}. */
  decrypt(
    ciphertext: Uint8Array,
    purpose: Purpose,
    signal: CallSignal,
    kekSource: Uint8Array | undefined,
  ): Promise<Result<Uint8Array>>;
  /** One try, the answer of which is remembered where somebody may need it again. */
  once(ciphertext: Uint8Array, purpose: Purpose, signal: CallSignal): Promise<Result<Uint8Array>>;
};

export type DecryptingOptions = {
  readonly operations: Operations;
  readonly writer: Provider;
  /** Whether the writer is the only one that decrypts. */
  readonly alone: boolean;
  readonly memory: OutageMemory | undefined;
  readonly state: () => KeyringState;
  readonly abandoned: () => boolean;
  /** Told that a provider has refused, and in what words. */
  readonly refused: (why: string) => void;
  /** Told that a version was seen that is newer than the one announced. */
  readonly sawNewerVersion: () => void;
};

const NO_SOURCE = `the ciphertext was made under a local KEK, and the annotation ${KEK_SOURCE_ANNOTATION} that it takes to decrypt it is missing`;
const DAMAGED = 'the ciphertext was made under a local KEK, and was cut or damaged';

/** Decrypts with the operations given. */
export function createDecrypting(options: DecryptingOptions): Decrypting {
  const { operations, writer, memory, state } = options;

  /** Whether the announced key's policy is known to rule it out. */
  const isRuledOut = (ciphertext: Uint8Array): boolean => {
    const least = knownKey(state())?.description.minDecryptionVersion;
    const version = writer.versionOf(ciphertext);
    return least !== undefined && version !== undefined && version < least;
  };

  const once: Decrypting['once'] = async (ciphertext, purpose, signal) => {
    const outcome = await operations.decrypt(ciphertext, signal);
    if (memory === undefined) return outcome;
    const { kind: now } = state();
    if (outcome.ok) {
      if (purpose !== 'sample' && now !== 'refused') memory.remember(ciphertext, outcome.value);
      return outcome;
    }
    const { kind, message } = outcome.error;
    // That one is refused which policy had ruled out before is no news of the others.
    if (kind === 'denied' && isRuledOut(ciphertext)) memory.drop(ciphertext);
    else if (kind === 'denied' || kind === 'unauthenticated') options.refused(message);
    if (now === 'refused' || !isTransient(kind)) return outcome;
    const remembered = memory.decrypt(ciphertext);
    return remembered === undefined ? outcome : succeed(remembered);
  };

  const ofProvider = async (
    ciphertext: Uint8Array,
    purpose: Purpose,
    signal: CallSignal,
  ): Promise<Result<Uint8Array>> => {
    // Only while nobody can be asked: what is asked stands in the provider's audit log.
    const nobody = options.alone && state().kind === 'outage';
    const remembered = nobody ? memory?.decrypt(ciphertext) : undefined;
    if (remembered !== undefined) return succeed(remembered);
    const attempt = (): Promise<Result<Uint8Array>> => once(ciphertext, purpose, signal);
    const first = await attempt();
    const outcome = first.ok
      ? first
      : await patiently(first, attempt, { signal, useless: options.abandoned });
    const after = state();
    if (!outcome.ok || after.kind !== 'ready') return outcome;
    const version = writer.versionOf(ciphertext) ?? 0;
    if (version > after.key.version) options.sawNewerVersion();
    if (purpose === 'seed' && version === after.key.version)
      memory?.useAsSource(ciphertext, after.key);
    return outcome;
  };

  const underLocalKek = async (
    ciphertext: Uint8Array,
    purpose: Purpose,
    signal: CallSignal,
    kekSource: Uint8Array | undefined,
  ): Promise<Result<Uint8Array>> => {
    const sealed = parseUnderLocalKek(ciphertext);
    if (sealed === undefined) return fail('invalid', DAMAGED);
    if (kekSource === undefined) return fail('invalid', NO_SOURCE);
    const seed = await ofProvider(kekSource, purpose, signal);
    if (!seed.ok) return seed;
    return decryptUnder({ ciphertext: kekSource, seed: seed.value }, sealed);
  };

  return {
    once,
    decrypt: (ciphertext, purpose, signal, kekSource) =>
      versionUnderLocalKek(ciphertext) === undefined
        ? ofProvider(ciphertext, purpose, signal)
        : underLocalKek(ciphertext, purpose, signal, kekSource),
  };
}
