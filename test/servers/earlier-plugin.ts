/**
 * The KMS plugins that came before, as far as their data and their answers matter for leaving them. What
 * each one does is copied from its sources:
 * - Trousseau 1.x: KMS v1; the ciphertext is what Transit answers, in ASCII (internal/server/grpc.go);
 * - vault-kubernetes-kms: KMS v2; the same, its key_id is the decimal version (pkg/plugin/plugin_v2.go);
 * - kleidi: KMS v2; the same with one annotation, without which it refuses to decrypt
 *   (internal/providers/hvault.go);
 * - another one of KMS v1, whose key is not in Vault, as those of the clouds.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import * as v1 from '../../src/kms/codec/v1beta1.ts';
import * as v2 from '../../src/kms/codec/v2.ts';
import type { VaultAdmin } from './vault-admin.ts';

export type EarlierKind = 'trousseau-1' | 'vault-kubernetes-kms' | 'kleidi' | 'another';

export type EarlierPlugin = AsyncDisposable & { stop(): Promise<void> };

type Ciphers = {
  encrypt(plaintext: Uint8Array): Promise<Uint8Array>;
  decrypt(ciphertext: Uint8Array): Promise<Uint8Array>;
};

type Handle = (request: Uint8Array) => Promise<Uint8Array>;

const KLEIDI = 'v2.kleidi.beezy.dev';
const NONE: ReadonlyMap<string, Uint8Array> = new Map();
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Serves on a unix socket, with this key of the Transit engine at `transit`. */
export async function startEarlierPlugin(
  kind: EarlierKind,
  socket: string,
  admin: VaultAdmin,
  key: string,
): Promise<EarlierPlugin> {
  const ciphers = kind === 'another' ? ownKey() : transit(admin, key);
  const isV1 = kind === 'trousseau-1' || kind === 'another';
  const server = new Server();
  for (const [name, handle] of Object.entries(isV1 ? v1Of(ciphers) : v2Of(kind, ciphers)))
    addMethod(server, isV1 ? 'v1beta1' : 'v2', name, handle);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  const stop = (): Promise<void> => {
    server.forceShutdown();
    return Promise.resolve();
  };
  return { stop, [Symbol.asyncDispose]: stop };
}

function v1Of({ encrypt, decrypt }: Ciphers): Readonly<Record<string, Handle>> {
  return {
    Version: () =>
      Promise.resolve(
        v1.encodeVersionResponse({
          version: 'v1beta1',
          runtime_name: 'earlier',
          runtime_version: '1.0.0',
        }),
      ),
    Encrypt: async (bytes) =>
      v1.encodeEncryptResponse({ cipher: await encrypt(v1.decodeEncryptRequest(bytes).plain) }),
    Decrypt: async (bytes) =>
      v1.encodeDecryptResponse({ plain: await decrypt(v1.decodeDecryptRequest(bytes).cipher) }),
  };
}

function v2Of(kind: EarlierKind, { encrypt, decrypt }: Ciphers): Readonly<Record<string, Handle>> {
  const isKleidi = kind === 'kleidi';
  const key_id = isKleidi ? 'kleidi-kms-plugin_1_1700000000' : '1';
  const annotations = isKleidi ? new Map([[KLEIDI, Buffer.from('1')]]) : NONE;
  return {
    Status: () =>
      Promise.resolve(v2.encodeStatusResponse({ version: 'v2', healthz: 'ok', key_id })),
    Encrypt: async (bytes) =>
      v2.encodeEncryptResponse({
        ciphertext: await encrypt(v2.decodeEncryptRequest(bytes).plaintext),
        key_id,
        annotations,
      }),
    Decrypt: async (bytes) => {
      const request = v2.decodeDecryptRequest(bytes);
      const { size } = request.annotations;
      const mark = request.annotations.get(KLEIDI);
      if (isKleidi && (size !== 1 || mark === undefined || Buffer.from(mark).toString() !== '1'))
        throw new Error('invalid annotations');
      return v2.encodeDecryptResponse({ plaintext: await decrypt(request.ciphertext) });
    },
  };
}

function transit(admin: VaultAdmin, key: string): Ciphers {
  return {
    encrypt: async (plaintext) => {
      const body = { plaintext: Buffer.from(plaintext).toString('base64') };
      const { data } = await admin.write(`transit/encrypt/${key}`, body);
      return Buffer.from(String(data?.['ciphertext']));
    },
    decrypt: async (ciphertext) => {
      const body = { ciphertext: Buffer.from(ciphertext).toString() };
      const { data } = await admin.write(`transit/decrypt/${key}`, body);
      return Buffer.from(String(data?.['plaintext']), 'base64');
    },
  };
}

function ownKey(): Ciphers {
  const key = randomBytes(32);
  return {
    encrypt: (plaintext) => {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, iv);
      const body = [cipher.update(plaintext), cipher.final()];
      return Promise.resolve(Buffer.concat([iv, ...body, cipher.getAuthTag()]));
    },
    decrypt: (ciphertext) => {
      const decipher = createDecipheriv('aes-256-gcm', key, ciphertext.subarray(0, IV_BYTES));
      decipher.setAuthTag(ciphertext.subarray(-TAG_BYTES));
      const body = decipher.update(ciphertext.subarray(IV_BYTES, -TAG_BYTES));
      return Promise.resolve(Buffer.concat([body, decipher.final()]));
    },
  };
}

function addMethod(server: Server, api: string, name: string, handle: Handle): void {
  const identity = (bytes: Buffer): Buffer => bytes;
  server.addService(
    {
      [name]: {
        path: `/${api}.KeyManagementService/${name}`,
        requestStream: false,
        responseStream: false,
        requestSerialize: identity,
        requestDeserialize: identity,
        responseSerialize: identity,
        responseDeserialize: identity,
      },
    },
    {
      [name]: (
        call: { readonly request: Buffer },
        callback: (error: object | null, reply?: Buffer) => void,
      ) => {
        handle(call.request).then(
          (reply) => callback(null, Buffer.from(reply)),
          (error: unknown) => callback({ code: status.INTERNAL, details: String(error) }),
        );
      },
    },
  );
}
