/** What an operator is told where the announced key is missing: what may have happened, and the rescue. */
import type { KeyId } from './key-id.ts';
import type { AnnouncedKey, Instead } from './state.ts';

/** Where the loss is not certain yet: a server that lags shows the same. */
export function missingSentence(announced: AnnouncedKey, seen: AnnouncedKey): string {
  return `${nameOf(announced)} has no version ${announced.version}, which was announced, but version ${seen.version}: a server that lags behind, or a backup older than the last rotation was restored; restart no kube-apiserver`;
}

/** Where it is. The field of the configuration confirms that this one key_id is lost. */
export function lostSentence(announced: AnnouncedKey, instead: Instead, isKnown: boolean): string {
  const [name, version] = [nameOf(announced), announced.version];
  switch (instead.how) {
    case 'behind':
      return `${name} has lost version ${version}, which was announced, and has version ${instead.key.version} now: ${BACKUP}. ${RESCUE}: restore a backup that has version ${version}; or, where there is none, rotate the key${isKnown ? '' : `, acknowledge the loss (health.acknowledgedLosses: ["${announced.keyId}"])`} and ${REWRITE}`;
    case 'replaced': {
      const rotate = instead.key.keyId === announced.keyId ? ', rotate the key' : '';
      return `${name} is another key than ${announced.keyId}, which was announced: it was deleted and made again, rotated after an older backup was restored, or another one is in its place. ${RESCUE}: bring the announced key back from a backup; or, where there is none${rotate}, acknowledge the loss (health.acknowledgedLosses: ["${announced.keyId}"]) and ${REWRITE}`;
    }
  }
}

/** Where another provider is configured than the one that had the announced key, and does not read it. */
export function unreadSentence({ keyId }: AnnouncedKey, why: string): string {
  return `${keyId} was announced before the last start, and no provider of the configuration decrypts what it has encrypted (${why}): keep the earlier provider in providers beside the new one; or, where nothing in etcd needs it, acknowledge its loss (health.acknowledgedLosses: ["${keyId}"])`;
}

/** Where the key that is announced is one of those that an operator has called lost. */
export function acknowledgedInUse(keyId: KeyId): string {
  return `health.acknowledgedLosses has ${keyId}, which is in use: take it out, or another key may take its place unnoticed, and nothing reads what was written under this one`;
}

const BACKUP = 'a backup older than the last rotation was restored, or a server lags far behind';
const RESCUE =
  'Restart no kube-apiserver and change no EncryptionConfiguration: only their memory can still read what was written under it, with KMS v2 for a day at most. Then';
/**
 * kube-apiserver takes what KMS v1 has encrypted for current, whatever key it was, and leaves it; with KMS v2 it
 * decrypts what is stored before it finds that nothing changed. A change is written without either.
 */
export const REWRITE =
  'write every Secret again through each kube-apiserver, by a change in each one (/usr/share/doc/trousseau/docs/operations.md, "When the key is lost")';

function nameOf({ description }: AnnouncedKey): string {
  return `the key ${description.path.slice(1).join('/')}`;
}
