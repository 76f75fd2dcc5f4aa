/** Signatures by the key that the environment names; gpg finds it in its own keyring. */
import { run } from '../packages/tools.ts';

export type Signer = {
  /** The whole fingerprint, so that nothing else is ever meant. */
  readonly fingerprint: string;
  /** Beside the file, as FILE.asc; or where `to` says. */
  detached(file: string, to?: string): void;
  /** The text with its signature around it. */
  clear(file: string, to: string): void;
  /** What others check the signatures with. */
  publicKey(to: string): void;
};

export const KEY_VARIABLE = 'TROUSSEAU_SIGNING_KEY';

/** The signer, or in one sentence why there is none. */
export function signerFrom(
  env: Readonly<Record<string, string | undefined>>,
): Signer | { readonly problem: string } {
  const key = env[KEY_VARIABLE];
  if (key === undefined || key === '') {
    return {
      problem: `${KEY_VARIABLE} is not set: name the GPG key that signs the release, by fingerprint or address`,
    };
  }
  const fingerprint = fingerprintOf(key);
  if (fingerprint === undefined) {
    return {
      problem: `gpg has no secret key ${key} (${KEY_VARIABLE}): import it, or set GNUPGHOME`,
    };
  }
  const sign = (to: string, ...rest: readonly string[]): void => {
    const common = [
      '--batch',
      '--yes',
      '--local-user',
      `${fingerprint}!`,
      '--digest-algo',
      'SHA512',
    ];
    run('gpg', [...common, '--output', to, ...rest]);
  };
  return {
    fingerprint,
    detached: (file, to = `${file}.asc`) => sign(to, '--armor', '--detach-sign', file),
    clear: (file, to) => sign(to, '--clearsign', file),
    publicKey: (to) => {
      run('gpg', ['--batch', '--yes', '--armor', '--output', to, '--export', fingerprint]);
    },
  };
}

function fingerprintOf(key: string): string | undefined {
  try {
    const listed = run('gpg', ['--batch', '--with-colons', '--list-secret-keys', key]);
    return /^fpr:+([0-9A-F]+):/m.exec(listed)?.[1];
  } catch {
    return undefined;
  }
}
