/**
 * KMS v1, `v1beta1.KeyManagementService`: one Encrypt for each object that kube-apiserver writes.
 *
 * It does not validate replies: an empty cipher would be stored as it is and the object lost. So
 * nothing is answered here that the provider has not checked.
 */
import type { Keyring } from '../keyring/keyring.ts';
import type { Purpose } from '../keyring/purpose.ts';
import * as codec from './codec/v1beta1.ts';
import { ciphertextProblem, MAX_V1_CIPHERTEXT_BYTES, plaintextProblem } from './limits.ts';
import { localMethod, type Method, remoteMethod } from './method.ts';
import { failed, invalidArgument, reply } from './status.ts';

const API_VERSION = 'v1beta1';
const SERVICE = '/v1beta1.KeyManagementService';

/** What a plugin says of itself in Version's reply. */
export type Runtime = { readonly name: string; readonly version: string };

/** Version: must answer exactly `v1beta1`. */
export function versionMethod(runtime: Runtime): Method {
  const response = {
    version: API_VERSION,
    runtime_name: runtime.name,
    runtime_version: runtime.version,
  };
  return localMethod(
    `${SERVICE}/Version`,
    { decode: codec.decodeVersionRequest, encode: codec.encodeVersionResponse },
    () => ({ reply: reply(response) }),
  );
}

/** Encrypt: of a data key, and of `ping` in kube-apiserver's health check. */
export function encryptMethod(keyring: Keyring): Method {
  return remoteMethod(
    `${SERVICE}/Encrypt`,
    { decode: codec.decodeEncryptRequest, encode: codec.encodeEncryptResponse },
    async ({ version, plain }, { signal }) => {
      const problem = versionProblem(version) ?? plaintextProblem(plain);
      if (problem !== undefined) return { reply: invalidArgument(problem) };
      const encrypted = await keyring.encrypt(plain, purposeOf(plain), signal);
      plain.fill(0);
      if (!encrypted.ok) return { reply: failed(encrypted.error) };
      const { ciphertext, version: keyVersion } = encrypted.value;
      const wrong = ciphertextProblem(ciphertext, MAX_V1_CIPHERTEXT_BYTES);
      return {
        reply: wrong === undefined ? reply({ cipher: ciphertext }) : invalidArgument(wrong),
        facts: { keyVersion },
      };
    },
  );
}

/** Decrypt: of anything that a configured provider can read. */
export function decryptMethod(keyring: Keyring): Method {
  return remoteMethod(
    `${SERVICE}/Decrypt`,
    {
      decode: codec.decodeDecryptRequest,
      encode: codec.encodeDecryptResponse,
      wipe: (response) => void response.plain.fill(0),
    },
    async ({ version, cipher }, { signal }) => {
      const problem = versionProblem(version) ?? ciphertextProblem(cipher, MAX_V1_CIPHERTEXT_BYTES);
      if (problem !== undefined) return { reply: invalidArgument(problem) };
      const facts = { keyVersion: keyring.versionOf(cipher) };
      const decrypted = await keyring.decrypt({ ciphertext: cipher, purpose: 'dek' }, signal);
      return {
        reply: decrypted.ok ? reply({ plain: decrypted.value }) : failed(decrypted.error),
        facts,
      };
    },
  );
}

/** kube-apiserver's health check encrypts these four bytes; a data key has 16 or more. */
const PING = Buffer.from('ping');

function purposeOf(plain: Uint8Array): Purpose {
  return PING.equals(plain) ? 'ping' : 'dek';
}

function versionProblem(version: string): string | undefined {
  return version === API_VERSION ? undefined : `version of a KMS v1 request must be ${API_VERSION}`;
}
