/** KMS v2, `v2.KeyManagementService`: one Encrypt for each start of kube-apiserver (KEP-3299). */
import type { Health } from '../keyring/health.ts';
import type { Keyring } from '../keyring/keyring.ts';
import { LOCAL_KEK_ANNOTATION } from '../keyring/local-kek.ts';
import type { Purpose } from '../keyring/purpose.ts';
import type { Result } from '../providers/errors.ts';
import { isMendedAuthority } from './authority/host.ts';
import * as codec from './codec/v2.ts';
import {
  annotationsProblem,
  ciphertextProblem,
  keyIdProblem,
  MAX_V2_CIPHERTEXT_BYTES,
  plaintextProblem,
} from './limits.ts';
import { localMethod, type Method, remoteMethod } from './method.ts';
import { failed, invalidArgument, reply } from './status.ts';

const SERVICE = '/v2.KeyManagementService';
const NO_ANNOTATIONS: ReadonlyMap<string, Uint8Array> = new Map();

/**
 * Status: answered from memory. Kubernetes 1.27 and 1.28 take only `v2beta1` for the version, later
 * ones both; those two are the ones whose clients send the socket's path as their authority.
 */
export function statusMethod(health: () => Result<Health>): Method {
  return localMethod(
    `${SERVICE}/Status`,
    { decode: codec.decodeStatusRequest, encode: codec.encodeStatusResponse },
    (_request, host) => {
      const now = health();
      if (!now.ok) return { reply: failed(now.error) };
      const version = isMendedAuthority(host) ? 'v2beta1' : 'v2';
      return { reply: reply({ version, healthz: now.value.healthz, key_id: now.value.keyId }) };
    },
  );
}

/** Begins the uid of a call that measures; kube-apiserver's are UUIDs. */
export const SAMPLE_UID = 'sample-';

function purposeOf(uid: string): Purpose {
  return uid.startsWith(SAMPLE_UID) ? 'sample' : 'seed';
}

/**
 * Encrypt: of a seed, decrypted again before it is answered, since so much will hang on it. One that
 * was encrypted under a local KEK needs that to be decrypted: an annotation of it.
 */
export function encryptMethod(keyring: Keyring): Method {
  return remoteMethod(
    `${SERVICE}/Encrypt`,
    { decode: codec.decodeEncryptRequest, encode: codec.encodeEncryptResponse },
    async ({ plaintext, uid }, { signal }) => {
      const problem = plaintextProblem(plaintext);
      if (problem !== undefined) return { reply: invalidArgument(problem), facts: { uid } };
      const encrypted = await keyring.encrypt(plaintext, purposeOf(uid), signal);
      plaintext.fill(0);
      if (!encrypted.ok) return { reply: failed(encrypted.error), facts: { uid } };
      const { ciphertext, keyId, version: keyVersion, localKek } = encrypted.value;
      const annotations =
        localKek === undefined ? NO_ANNOTATIONS : new Map([[LOCAL_KEK_ANNOTATION, localKek]]);
      const wrong = ciphertextProblem(ciphertext, MAX_V2_CIPHERTEXT_BYTES) ?? keyIdProblem(keyId);
      return {
        reply:
          wrong === undefined
            ? reply({ ciphertext, key_id: keyId, annotations })
            : invalidArgument(wrong),
        facts: { uid, keyVersion },
      };
    },
  );
}

/** Decrypt: the key_id is whatever was announced when the object was written, also by others. */
export function decryptMethod(keyring: Keyring): Method {
  return remoteMethod(
    `${SERVICE}/Decrypt`,
    {
      decode: codec.decodeDecryptRequest,
      encode: codec.encodeDecryptResponse,
      wipe: (response) => void response.plaintext.fill(0),
    },
    async ({ ciphertext, uid, key_id, annotations }, { signal }) => {
      const problem =
        ciphertextProblem(ciphertext, MAX_V2_CIPHERTEXT_BYTES) ??
        keyIdProblem(key_id) ??
        annotationsProblem(annotations);
      if (problem !== undefined) return { reply: invalidArgument(problem), facts: { uid } };
      const facts = { uid, keyVersion: keyring.versionOf(ciphertext) };
      const decrypted = await keyring.decrypt(
        {
          ciphertext,
          purpose: purposeOf(uid),
          keyId: key_id,
          localKek: annotations.get(LOCAL_KEK_ANNOTATION),
        },
        signal,
      );
      return {
        reply: decrypted.ok ? reply({ plaintext: decrypted.value }) : failed(decrypted.error),
        facts,
      };
    },
  );
}
