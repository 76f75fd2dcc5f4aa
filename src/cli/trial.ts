/** Tries a keyring out beside the one in use, before anything depends on it. */
import { randomBytes } from 'node:crypto';
import { isOlderView, isTransient, type KeyringState, knownKey } from '../keyring/state.ts';
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { KeyDescription } from '../providers/provider.ts';
import type { Clock } from '../system/clock.ts';
import type { Built } from './providers.ts';

export type Trial = {
  readonly built: Built;
  /** The state of the keyring that would be replaced. */
  readonly inUse: () => KeyringState;
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
export async function tryOut({ built, inUse, clock, signal }: Trial): Promise<Result<Proven>> {
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
    const older = olderKey(inUse(), keyring.state());
    if (older !== undefined) return fail('unavailable', older);
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
 * A standby that lags behind, or an old copy of a keyring file, must not take the key_id back, and
 * no version may get lost that the keyring in use still has in memory.
 */
function olderKey(inUse: KeyringState, tried: KeyringState): string | undefined {
  const [known, seen] = [knownKey(inUse), knownKey(tried)];
  if (known === undefined || seen === undefined) return undefined;
  if (known.description.path.join('\n') !== seen.description.path.join('\n')) return undefined;
  if (isOlderView(seen.description, known)) {
    return `the key has version ${seen.version} there, and version ${known.version} is in use: a standby that is behind, or an old copy`;
  }
  const lost = lostVersions(known.description, seen.description);
  return lost.length === 0
    ? undefined
    : `the key has no version ${lost.join(', ')} any more, which the one in use has: was an old copy put in its place?`;
}

/** None of a key that was deleted and made again: it is another one. */
function lostVersions(known: KeyDescription, seen: KeyDescription): readonly number[] {
  const createdAt = new Map(seen.versions.map((v) => [v.version, v.createdAt]));
  const another = known.versions.some(
    (v) => createdAt.has(v.version) && createdAt.get(v.version) !== v.createdAt,
  );
  if (another) return [];
  return known.versions
    .map(({ version }) => version)
    .filter((version) => version >= seen.minDecryptionVersion && !createdAt.has(version));
}
