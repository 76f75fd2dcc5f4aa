/** Tries a keyring out beside the one in use, before anything depends on it. */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { KeyId } from '../keyring/key-id.ts';
import { isTransient, type KeyringState, knownKey } from '../keyring/state.ts';
import { lostVersions, succession } from '../keyring/succession.ts';
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Clock } from '../system/clock.ts';
import type { Built } from './providers.ts';

export type Trial = {
  readonly built: Built;
  /** The state of the keyring that would be replaced. */
  readonly inUse: () => KeyringState;
  /** Whether the provider that encrypts is configured as the one in use is. */
  readonly sameWriter: boolean;
  /** Whether an operator has said that this announced key is lost for good. */
  readonly isAcknowledged: (lost: KeyId) => boolean;
  readonly clock: Clock;
  /** Ends the trial early. */
  readonly signal: AbortSignal;
};

/** What does not speak against it, but a person should know. */
export type Proven = { readonly warnings: readonly string[] };

/** No longer than this; then the keyring counts as not reached. */
export const TRIAL_LIMIT_MS = 30_000;
const SAMPLE_BYTES = 32;

/**
 * Starts the keyring and has it prove itself: its provider must log in, describe its key, and
 * encrypt and decrypt a sample; those that only decrypt must not refuse. It is never stopped here.
 */
export async function tryOut(trial: Trial): Promise<Result<Proven>> {
  const { built, inUse, clock, signal } = trial;
  const { keyring, decryptOnly } = built;
  const limit = new AbortController();
  const end = (): void => limit.abort();
  const timer = clock.setTimer(TRIAL_LIMIT_MS, end);
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  try {
    keyring.start();
    // It waits for the first look at the provider, however long that takes.
    const encrypted = await keyring.encrypt(randomBytes(SAMPLE_BYTES), 'sample', limit.signal);
    if (!encrypted.ok) return encrypted;
    const lost = lostKey(inUse(), keyring.state(), trial);
    if (lost !== undefined) return fail('unavailable', lost);
    const warnings: string[] = [];
    for (const provider of decryptOnly) {
      const described = await provider.describe(limit.signal);
      if (described.ok) continue;
      const why = `${provider.name}, which only decrypts: ${described.error.message}`;
      if (!isTransient(described.error.kind)) return fail(described.error.kind, why);
      warnings.push(why);
    }
    return succeed({ warnings });
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', end);
  }
}

/**
 * A standby that lags behind, an old copy of a keyring file or another key in the place of the one in
 * use must not take the key_id back, and no version may get lost that the keyring in use still has.
 * Another key that the configuration names on purpose is none of these.
 */
function lostKey(
  inUse: KeyringState,
  tried: KeyringState,
  { sameWriter, isAcknowledged }: Pick<Trial, 'sameWriter' | 'isAcknowledged'>,
): string | undefined {
  const [known, seen] = [knownKey(inUse), knownKey(tried)];
  if (known === undefined || seen === undefined) return undefined;
  const samePath = isDeepStrictEqual(known.description.path, seen.description.path);
  if (!samePath && !sameWriter) return undefined;
  const how = succession(known.description, seen.description);
  if (how === 'behind')
    return `the key has version ${seen.version} there, and version ${known.version} is in use: a standby that lags behind, or an old copy`;
  if (how === 'replaced')
    return isAcknowledged(known.keyId)
      ? undefined
      : `it is another key than ${known.keyId}, which is in use: bring that one back, or acknowledge its loss (health.acknowledgedLosses)`;
  const lost = lostVersions(known.description, seen.description);
  return lost.length === 0
    ? undefined
    : `version ${lost.join(', ')} of the key is missing there or is another one than in use: was an old copy put in its place?`;
}
