/**
 * What a keyring file must not take away from the keyring in memory: a file that an older copy or
 * another keyring has replaced would lose what the missing keys have encrypted at the next start.
 */
import { createHmac, type KeyObject } from 'node:crypto';
import type { Keyring, KeyringKey } from './keyring-file.ts';

const RESTORE = 'put the newest copy of the keyring back before this process ends';

/** Why `read` cannot follow `before`, as a sentence; undefined where it holds all of its keys. */
export function replacedBy(before: Keyring, read: Keyring): string | undefined {
  if (before.id !== read.id)
    return `another keyring is in its place, and the one in memory is what the Secrets were written under: ${RESTORE}`;
  const missing = versionsOf(before, (key) => keyOf(read, key.version) === undefined);
  const changed = versionsOf(before, (key) => {
    const now = keyOf(read, key.version);
    return now !== undefined && !isSame(now, key);
  });
  if (changed !== '')
    return `version ${changed} in it is another key than the one in memory, which the Secrets were written under: ${RESTORE}`;
  if (missing !== '')
    return `version ${missing} is missing in it, and is in memory: was an older copy put in its place? ${RESTORE}`;
  return read.current < before.current
    ? `it encrypts with version ${read.current}, an earlier one than version ${before.current} in memory: ${RESTORE}`
    : undefined;
}

/** The key of one version; undefined where there is none. */
export function keyOf({ keys }: Keyring, version: number): KeyringKey | undefined {
  return keys.find((key) => key.version === version);
}

/** A public value that another key does not have: 64 bits of an HMAC under the key (RFC 2104). */
export function checkValueOf(key: KeyObject): string {
  return createHmac('sha256', key).update('trousseau.io/v1 check value').digest('hex').slice(0, 16);
}

function versionsOf({ keys }: Keyring, holds: (key: KeyringKey) => boolean): string {
  return keys
    .filter(holds)
    .map(({ version }) => version)
    .join(', ');
}

function isSame(a: KeyringKey, b: KeyringKey): boolean {
  return a.createdAt === b.createdAt && a.key.equals(b.key);
}
