/**
 * What Vault says of a Transit key.
 * https://developer.hashicorp.com/vault/api-docs/secret/transit#read-key
 */
import type { VaultConfig } from '../../config/schema.ts';
import { fail, type Result, succeed } from '../errors.ts';
import type { KeyDescription, KeyVersion } from '../provider.ts';
import { KEY_IS_SOFT_DELETED } from './errors.ts';

/** A key of OpenBao that lies in an HSM or another KMS. */
const EXTERNAL = 'external-key';
/** Types that authenticate with a nonce of 12 and a tag of 16 bytes. */
export const AEAD_12_16: readonly string[] = ['aes128-gcm96', 'aes256-gcm96', 'chacha20-poly1305'];
/** The last one is of OpenBao, with a nonce of 24 bytes. */
const AEAD: readonly string[] = [...AEAD_12_16, 'xchacha20-poly1305'];

type Place = Pick<VaultConfig, 'namespace' | 'mount' | 'key'>;

/** The description out of `data`, checked; what cannot serve is `denied`, with what to do. */
export function describeKey(data: unknown, place: Place): Result<KeyDescription> {
  if (typeof data !== 'object' || data === null) return misread('there is no data');
  const key = data as Readonly<Record<string, unknown>>;
  const name = `key ${place.mount}/${place.key}`;
  if (key['derived'] === true) {
    return fail(
      'denied',
      `${name} is a derived key, which needs a context with each call: make one without derived`,
    );
  }
  if (key['supports_encryption'] === false || key['supports_decryption'] === false) {
    return fail(
      'denied',
      `${name} has type ${String(key['type'])}, which does not encrypt: make one of type aes256-gcm96`,
    );
  }
  if (key['soft_deleted'] === true) return fail('denied', `${name}: ${KEY_IS_SOFT_DELETED}`);
  if (key['type'] === EXTERNAL) {
    return fail(
      'denied',
      `${name} has type ${EXTERNAL}, whose versions have no time of creation, by which key_id tells them apart: make one of type aes256-gcm96`,
    );
  }
  const versions = versionsOf(key['keys']);
  if (versions === undefined) return misread('it lists no versions');
  const current = versions.find(({ version }) => version === key['latest_version']);
  if (current === undefined) return misread('its latest version is not among its versions');
  const type = String(key['type']);
  const unfit = unfitFor(name, type);
  return succeed({
    path: [
      'vault',
      [place.namespace, place.mount].filter((part) => part !== undefined).join('/'),
      place.key,
    ],
    versions,
    current,
    minDecryptionVersion:
      typeof key['min_decryption_version'] === 'number' ? key['min_decryption_version'] : 1,
    ...(unfit === undefined ? {} : { unfit }),
    facts: {
      type,
      deletable: key['deletion_allowed'] === true,
      exportable: key['exportable'] === true,
    },
  });
}

/**
 * What does not authenticate is not encrypted with: who can write to etcd could change a seed or store
 * a known one, and then read what kube-apiserver writes with it.
 * docs/decisions/0018-types-of-transit-keys.md
 */
function unfitFor(name: string, type: string): string | undefined {
  if (AEAD.includes(type)) return undefined;
  const why = type.startsWith('rsa-')
    ? 'with which everybody who has its public key encrypts'
    : type.endsWith('-cbc')
      ? 'which does not authenticate what it encrypts'
      : 'of which it is not known whether it authenticates what it encrypts';
  return `${name} has type ${type}, ${why}: make a key of type aes256-gcm96 under another name, have a provider of its own encrypt with it (write), and keep this one in providers, where it only decrypts`;
}

function misread(what: string): Result<never> {
  return fail('internal', `reading the key: Vault's answer is not understood: ${what}`);
}

/** Whole seconds for symmetric keys, an object with a date for asymmetric ones. */
function versionsOf(keys: unknown): readonly KeyVersion[] | undefined {
  if (typeof keys !== 'object' || keys === null) return undefined;
  const versions: KeyVersion[] = [];
  for (const [number, made] of Object.entries(keys)) {
    const version = Number(number);
    const createdAt =
      typeof made === 'number'
        ? made * 1000
        : Date.parse(String((made as { creation_time?: unknown } | null)?.creation_time));
    if (!Number.isInteger(version) || version < 1 || !Number.isFinite(createdAt)) return undefined;
    versions.push({ version, createdAt });
  }
  return versions.length === 0 ? undefined : versions.sort((a, b) => a.version - b.version);
}
