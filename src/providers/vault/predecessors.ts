/**
 * What earlier plugins made of a Transit ciphertext before kube-apiserver stored it. They are read,
 * and never written; as the plugins themselves have it in their sources:
 *
 * - oracle/kubernetes-vault-kms-plugin: `<name of the key>:v<version>:<base64>`
 * - Trousseau 2 (alpha), its socket for Vault: base64 of the whole Transit ciphertext
 * - Trousseau 2 (alpha), its proxy: lines of `<provider>:-:<payload>`, in any order; Vault's payload is
 *   one of the two forms above or the Transit ciphertext itself
 */
import { CANONICAL_BASE64 } from '../ciphertext.ts';
import { transitForm } from './transit.ts';

const PROXY_LINE = 'vault:-:';
const TRANSIT_PREFIX = 'vault:v';
/** Base64 of {@link TRANSIT_PREFIX}, as far as it does not depend on what follows. */
const ENCODED_PREFIX = 'dmF1bHQ6d';

/** The Transit ciphertext in what a plugin wrote with this key; the same bytes where it is in no older form. */
export function transitCiphertextIn(stored: Uint8Array, key: string): Uint8Array {
  if (transitForm.versionOf(stored) !== undefined) return stored;
  const text = Buffer.from(stored.buffer, stored.byteOffset, stored.length).toString('latin1');
  const found = ofProxy(text) ?? ofKeyName(text, key) ?? decoded(text);
  return found === undefined ? stored : Buffer.from(found, 'latin1');
}

function ofProxy(text: string): string | undefined {
  const line = text.split('\n').find((one) => one.startsWith(PROXY_LINE));
  const payload = line?.slice(PROXY_LINE.length);
  if (payload === undefined) return undefined;
  return payload.startsWith(TRANSIT_PREFIX) ? payload : decoded(payload);
}

function ofKeyName(text: string, key: string): string | undefined {
  return text.startsWith(`${key}:v`) ? `vault${text.slice(key.length)}` : undefined;
}

function decoded(text: string): string | undefined {
  if (!text.startsWith(ENCODED_PREFIX) || !CANONICAL_BASE64.test(text)) return undefined;
  return Buffer.from(text, 'base64').toString('latin1');
}
