/** Signatures by the key that the environment names; gpg finds it in its own keyring. */
import { run } from '../packages/tools.ts';

export type Signer = {
  /** Of the primary key, whole: what administrators compare. A subkey of it may be what signs. */
  readonly fingerprint: string;
  /** Of the key that signs. */
  readonly signingKey: string;
  /** Beside the file, as FILE.asc; or where `to` says. */
  detached(file: string, to?: string): void;
  /** The text with its signature around it. */
  clear(file: string, to: string): void;
  /** What others check the signatures with. */
  publicKey(to: string): void;
};

export const KEY_VARIABLE = 'TROUSSEAU_SIGNING_KEY';

/** The signer, which has signed something already, or in one sentence why there is none. */
export function signerFrom(
  env: Readonly<Record<string, string | undefined>>,
): Signer | { readonly problem: string } {
  const key = env[KEY_VARIABLE];
  if (key === undefined || key === '') {
    return {
      problem: `${KEY_VARIABLE} is not set: name the GPG key that signs the release, by fingerprint or address`,
    };
  }
  const found = signingKeys(listSecretKeys(key));
  const [one] = found;
  if (one === undefined) {
    return {
      problem: `gpg has no secret key ${key} that can sign (${KEY_VARIABLE}): import it, or set GNUPGHOME`,
    };
  }
  if (found.length > 1) {
    const all = found.map(({ fingerprint }) => fingerprint).join(', ');
    return { problem: `${key} (${KEY_VARIABLE}) may mean ${all}: name one by its fingerprint` };
  }
  const signer = signerOf(one);
  const refused = trial(one.signingKey);
  return refused === undefined
    ? signer
    : { problem: `gpg does not sign with ${one.signingKey} (${KEY_VARIABLE}): ${refused}` };
}

type SigningKey = { readonly fingerprint: string; readonly signingKey: string };

/**
 * Of gpg's listing with colons: for each key that names itself so, the part of it that can sign here.
 * The primary key may lie elsewhere (`#`), as it should where a subkey signs.
 */
export function signingKeys(listing: string): readonly SigningKey[] {
  const keys: { fingerprint: string; parts: string[] }[] = [];
  let usable = false;
  for (const fields of listing.split('\n').map((line) => line.split(':'))) {
    const [kind, validity = '', ...rest] = fields;
    const fingerprint = fields[9] ?? '';
    if (kind === 'sec' || kind === 'ssb') {
      if (kind === 'sec') keys.push({ fingerprint: '', parts: [] });
      const [capabilities = '', token = ''] = [rest[9], rest[12]];
      usable = !/[reid]/.test(validity) && capabilities.includes('s') && token !== '#';
    }
    const key = keys.at(-1);
    if (kind !== 'fpr' || key === undefined) continue;
    if (key.fingerprint === '') key.fingerprint = fingerprint;
    if (usable) key.parts.push(fingerprint);
    usable = false;
  }
  // As gpg itself chooses: the newest subkey, which is listed last.
  return keys.flatMap(({ fingerprint, parts }) => {
    const signingKey = parts.at(-1);
    return signingKey === undefined ? [] : [{ fingerprint, signingKey }];
  });
}

function signerOf({ fingerprint, signingKey }: SigningKey): Signer {
  const sign = (to: string, ...rest: readonly string[]): void => {
    run('gpg', [...signWith(signingKey), '--output', to, ...rest]);
  };
  return {
    fingerprint,
    signingKey,
    detached: (file, to = `${file}.asc`) => sign(to, '--armor', '--detach-sign', file),
    clear: (file, to) => sign(to, '--clearsign', file),
    publicKey: (to) => {
      run('gpg', ['--batch', '--yes', '--armor', '--output', to, '--export', fingerprint]);
    },
  };
}

/** Exactly this one, and nothing that gpg would take in its place. */
function signWith(signingKey: string): readonly string[] {
  return ['--batch', '--yes', '--local-user', `${signingKey}!`, '--digest-algo', 'SHA512'];
}

/** Why it does not sign, before anything is deleted or made. */
function trial(signingKey: string): string | undefined {
  try {
    run('gpg', [...signWith(signingKey), '--detach-sign', '--output', '/dev/null', '/dev/null']);
    return undefined;
  } catch (error) {
    return (
      (error as { readonly stderr?: string }).stderr?.trim().split('\n').at(-1) ?? String(error)
    );
  }
}

function listSecretKeys(key: string): string {
  try {
    return run('gpg', ['--batch', '--with-colons', '--list-secret-keys', key]);
  } catch {
    return ''; // it has none of that name
  }
}
