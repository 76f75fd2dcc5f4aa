/**
 * key_id: what Status and Encrypt announce, what kube-apiserver stores in clear beside each object,
 * and what makes it rewrite objects after a rotation (KEP-3299).
 *
 * It comes from shared state alone, so that every control-plane node computes the same one, and it
 * covers the version's creation time, so that a key that was deleted and made again under the same
 * name gets another one although its version is 1 again.
 */
import { createHash } from 'node:crypto';
import type { KeyDescription, KeyVersion } from '../providers/provider.ts';

/** At most 1024 bytes, public, stable. */
export type KeyId = string & { readonly __brand: 'KeyId' };

/** Enough of a SHA-256 that two keys never share one, short enough to read aloud. */
const HASH_HEX_DIGITS = 32;

/**
 * The key_id of one version of a key: `<kind>:v<version>:<hash>`, the hash over everything that
 * names the key, its version and that version's creation time.
 */
export function keyId(path: KeyDescription['path'], { version, createdAt }: KeyVersion): KeyId {
  const hash = createHash('sha256')
    .update(JSON.stringify([...path, version, createdAt]))
    .digest('hex')
    .slice(0, HASH_HEX_DIGITS);
  return `${path[0] ?? 'key'}:v${version}:${hash}` as KeyId;
}

/** The form in which kube-apiserver's metrics show a key_id, so that both sides can be joined. */
export function keyIdHash(id: string): string {
  return `sha256:${createHash('sha256').update(id).digest('hex')}`;
}
