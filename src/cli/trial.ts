/** Tries a keyring out beside the one in use, before anything depends on it. */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { type KeyId, keyId } from '../keyring/key-id.ts';
import { REWRITE } from '../keyring/lost-key.ts';
import type { Sample } from '../keyring/self-test.ts';
import { hasBeenReady, isTransient, type KeyringState, knownKey } from '../keyring/state.ts';
import { lostVersions, succession } from '../keyring/succession.ts';
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { KeyDescription } from '../providers/provider.ts';
import type { Clock } from '../system/clock.ts';
import { withLimit } from '../system/within.ts';
import type { Built } from './providers.ts';

export type Trial = {
  readonly built: Built;
  /** The state of the keyring that would be replaced. */
  readonly inUse: () => KeyringState;
  /** Whether the provider that encrypts is configured as the one in use is. */
  readonly sameWriter: boolean;
  /**
   * The key of a provider of this name as the process in use has it in memory, where it has: it may be
   * the last copy.
   */
  readonly inMemory: (provider: string) => KeyDescription | undefined;
  /** What the keyring in use was tried out with; undefined where it never was. */
  readonly sample: Sample | undefined;
  /**
   * Whether the provider that encrypts there stays configured as it is, under whatever name: then it
   * may be away, and need not prove just now that it decrypts.
   */
  readonly keepsWriter: boolean;
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
/** For decrypting a sample of the keyring in use. */
const READ_LIMIT_MS = 5_000;

/**
 * Starts the keyring and has it prove itself: its provider must log in, describe its key, and
 * encrypt and decrypt a sample; those that only decrypt must describe their key and let decrypt with
 * it. It is never stopped here.
 */
export async function tryOut(trial: Trial): Promise<Result<Proven>> {
  const { built, inUse, clock, signal } = trial;
  const { keyring, writer, decryptOnly } = built;
  const limit = new AbortController();
  const end = (): void => limit.abort();
  const timer = clock.setTimer(TRIAL_LIMIT_MS, end);
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  try {
    keyring.start();
    // First, since one that encrypts and is away may not keep the new keyring from being taken.
    for (const provider of decryptOnly) {
      if (trial.inMemory(provider.name) === undefined) continue;
      const described = await provider.describe(limit.signal);
      // Also what cannot be read just now is in memory still.
      const gone = described.ok
        ? lostFromMemory(provider.name, described.value, trial)
        : `${provider.name}, which only decrypts: ${described.error.message}`;
      if (gone !== undefined) return fail('denied', gone);
    }
    // It waits for the first look at the provider, however long that takes.
    const encrypted = await keyring.encrypt(randomBytes(SAMPLE_BYTES), 'sample', limit.signal);
    if (!encrypted.ok) return encrypted;
    const state = keyring.state();
    const lost =
      lostKey(inUse(), state, trial) ??
      lostFromMemory(writer, knownKey(state)?.description, trial) ??
      (await sameNameOnly(state, trial, limit.signal));
    if (lost !== undefined) return fail('unavailable', lost);
    const warnings: string[] = [];
    for (const provider of decryptOnly) {
      const described = await provider.describe(limit.signal);
      const checked = described.ok ? await keyring.readerChecked(provider.name) : described;
      if (checked.ok) continue;
      const why = `${provider.name}, which only decrypts: ${checked.error.message}`;
      if (!isTransient(checked.error.kind)) return fail(checked.error.kind, why);
      warnings.push(why);
    }
    const read = await readsSample(trial, limit.signal);
    if (read !== undefined && !read.mayPass) return fail('denied', read.why);
    if (read !== undefined) warnings.push(read.why);
    return succeed({ warnings });
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', end);
  }
}

/**
 * Why the new keyring cannot read what the one in use writes; undefined where it can. Keys are not
 * compared, since a mount that was moved has the same key under another key_id.
 */
async function readsSample(
  { built, sample, keepsWriter, inUse, isAcknowledged, clock }: Trial,
  lifetime: AbortSignal,
): Promise<{ readonly why: string; readonly mayPass: boolean } | undefined> {
  const known = knownKey(inUse());
  if (sample === undefined || known === undefined) return undefined;
  const { ciphertext, plaintext } = sample;
  const read = await withLimit(clock, READ_LIMIT_MS, lifetime, (signal) =>
    built.keyring.decrypt({ ciphertext, purpose: 'sample' }, signal),
  );
  if (read.ok && Buffer.from(plaintext).equals(read.value)) return undefined;
  const { kind, message } = read.ok ? DIFFERENT : read.error;
  if (isAcknowledged(known.keyId))
    return {
      mayPass: true,
      why: `the loss of ${known.keyId} is acknowledged, and it cannot decrypt what that has encrypted (${message}): restart no kube-apiserver before you ${REWRITE}`,
    };
  if (isTransient(kind) && kind !== 'behind')
    return {
      mayPass: keepsWriter,
      why: `not proved that it decrypts what ${known.keyId} has encrypted: ${message}`,
    };
  return {
    mayPass: false,
    why: `it cannot decrypt what ${known.keyId}, which is in use, has encrypted (${message}): keep the earlier provider in providers beside the new one; or, where that key is lost, acknowledge it (health.acknowledgedLosses: ["${known.keyId}"]), restart no kube-apiserver, and ${REWRITE}`,
  };
}

/**
 * Two keys that were made in the same second, under the same name in two places, have one key_id: then
 * nothing would tell which objects are of which key, and one of the two would be missed too late.
 */
async function sameNameOnly(
  tried: KeyringState,
  { built, sample, sameWriter, inUse }: Trial,
  signal: AbortSignal,
): Promise<string | undefined> {
  const known = knownKey(inUse());
  if (sameWriter || sample === undefined || known?.keyId !== knownKey(tried)?.keyId)
    return undefined;
  const [read] = await built.encrypts.decrypt([sample.ciphertext], signal);
  if (read === undefined || read.ok || isTransient(read.error.kind)) return undefined;
  return `it has the same key_id as the key in use, and is another key (${read.error.message}): rotate the key there first`;
}

const DIFFERENT = { kind: 'invalid', message: 'another text came back' } as const;

/**
 * A standby that lags behind, an old copy of a keyring file or another key in the place of the one in
 * use must not take the key_id back, and no version may get lost that the keyring in use still has.
 * Another key that the configuration names on purpose is none of these.
 */
function lostKey(
  inUse: KeyringState,
  tried: KeyringState,
  {
    sameWriter,
    keepsWriter,
    isAcknowledged,
  }: Pick<Trial, 'sameWriter' | 'keepsWriter' | 'isAcknowledged'>,
): string | undefined {
  const [known, seen] = [knownKey(inUse), knownKey(tried)];
  if (known === undefined || seen === undefined) return undefined;
  const samePath = isDeepStrictEqual(known.description.path, seen.description.path);
  if (!samePath && !sameWriter) return undefined;
  const how = succession(known.description, seen.description);
  if (how === 'behind' && isAcknowledged(known.keyId))
    return `the key has version ${seen.version} there, which is never announced after version ${known.version}: rotate the key, then the acknowledged loss gives way`;
  if (how === 'behind')
    return `the key has version ${seen.version} there, and version ${known.version} is in use: a standby that lags behind, or an old copy${sameWriter ? '' : '; where it is another Vault on purpose, rotate the key there first'}`;
  if (how === 'replaced')
    // Another provider has another key: what counts is whether the one in use is still read. The new
    // keyring has proved that already where this process has only been told of that one.
    return !sameWriter || !hasBeenReady(inUse) || isAcknowledged(known.keyId)
      ? undefined
      : `it is another key than ${known.keyId}, which is in use: bring that one back, or acknowledge its loss (health.acknowledgedLosses)`;
  const lost = keepsWriter && !sameWriter ? [] : lostVersions(known.description, seen.description);
  return lost.length === 0
    ? undefined
    : `version ${lost.join(', ')} of the key is missing there or is another one than in use: was an old copy put in its place?`;
}

/**
 * Whether the key in use was rotated since the new keyring saw it: taken now, that one would announce the earlier
 * version again until it asks its provider the next time.
 */
export function isOvertaken(inUse: KeyringState, tried: KeyringState): boolean {
  const [known, seen] = [knownKey(inUse)?.description, knownKey(tried)?.description];
  if (known === undefined || seen === undefined) return false;
  return isDeepStrictEqual(known.path, seen.path) && succession(known, seen) === 'behind';
}

/** What the process in use could still decrypt by a provider, and the new one could not. */
function lostFromMemory(
  provider: string,
  seen: KeyDescription | undefined,
  { inMemory, isAcknowledged }: Pick<Trial, 'inMemory' | 'isAcknowledged'>,
): string | undefined {
  const known = inMemory(provider);
  if (known === undefined || seen === undefined) return undefined;
  const id = keyId(known.path, known.current);
  if (isAcknowledged(id)) return undefined;
  const lost = isDeepStrictEqual(known.path, seen.path)
    ? lostVersions(known, seen)
    : known.versions.map(({ version }) => version);
  return lost.length === 0
    ? undefined
    : `${provider}: version ${lost.join(', ')} of its key is in memory, and missing or another one in what was read now: was an old copy or another keyring put in its place? Put the newest copy back, or acknowledge the loss (health.acknowledgedLosses: ["${id}"])`;
}
