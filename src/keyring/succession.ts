/**
 * Whether a description of the key can follow the announced one. Pure, and a table in its test.
 *
 * A key_id must never come back, and a key that was lost must not be replaced in silence: what
 * kube-apiserver wrote under the announced version can then be decrypted only by kube-apiservers
 * that still have its seed in memory. docs/decisions/0014-lost-keys.md
 */
import type { KeyDescription, KeyVersion } from '../providers/provider.ts';

export type Succession =
  /** The announced version is there, or policy has retired it: what is described may be announced. */
  | 'continues'
  /** Only earlier versions than the announced one: a standby that lags, or an older backup. */
  | 'behind'
  /** The announced version is not there, and what is there is new: made again, or another key. */
  | 'replaced';

/** How `seen` relates to a description whose `current` was announced. */
export function succession(announced: KeyDescription, seen: KeyDescription): Succession {
  if (announced.path.join('\n') !== seen.path.join('\n')) return 'replaced';
  const { current } = announced;
  if (holds(seen.versions, current))
    return seen.current.version >= current.version ? 'continues' : 'behind';
  const isRetired = current.version < seen.minDecryptionVersion;
  if (isRetired && seen.current.version > current.version) return 'continues';
  return holds(announced.versions, seen.current) ? 'behind' : 'replaced';
}

/** Versions that `known` has and policy lets decrypt, which are missing or are other keys in `seen`. */
export function lostVersions(known: KeyDescription, seen: KeyDescription): readonly number[] {
  return known.versions
    .filter((one) => one.version >= seen.minDecryptionVersion && !holds(seen.versions, one))
    .map(({ version }) => version);
}

function holds(versions: readonly KeyVersion[], one: KeyVersion): boolean {
  return versions.some(
    ({ version, createdAt, checkValue }) =>
      version === one.version && createdAt === one.createdAt && checkValue === one.checkValue,
  );
}
