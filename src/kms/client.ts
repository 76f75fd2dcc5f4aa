/** A KMS client as kube-apiserver is one, for measuring and checking an installation. */
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import * as v1beta1 from './codec/v1beta1.ts';
import * as v2 from './codec/v2.ts';

/** Rejects with grpc-js's ServiceError where the plugin answers with a status other than OK. */
export type KmsClient = {
  readonly v1: {
    version(): Promise<v1beta1.VersionResponse>;
    encrypt(plain: Uint8Array): Promise<v1beta1.EncryptResponse>;
    decrypt(cipher: Uint8Array): Promise<v1beta1.DecryptResponse>;
  };
  readonly v2: {
    status(): Promise<v2.StatusResponse>;
    encrypt(plaintext: Uint8Array, uid: string): Promise<v2.EncryptResponse>;
    decrypt(request: v2.DecryptRequest): Promise<v2.DecryptResponse>;
  };
  close(): void;
};

/** A client on the plugin's unix socket; each call has `timeoutMs`, 3 s as kube-apiserver's. */
export function createKmsClient(socket: string, timeoutMs = 3_000): KmsClient {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    // kube-apiserver's back-off grows to two minutes; a person at a terminal has less patience.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    'grpc.enable_channelz': 0,
    'grpc.service_config_disable_resolution': 1,
  });
  const call = <Request, Response>(
    path: string,
    encode: (request: Request) => Uint8Array,
    decode: (bytes: Uint8Array) => Response,
    request: Request,
  ): Promise<Response> =>
    new Promise((resolve, reject) => {
      const done = (error: ServiceError | null, response?: Response): void => {
        if (error !== null || response === undefined)
          reject(error ?? new Error(`${path}: no reply`));
        else resolve(response);
      };
      const deadline = Date.now() + timeoutMs;
      client.makeUnaryRequest(
        path,
        (r: Request) => Buffer.from(encode(r)),
        decode,
        request,
        { deadline },
        done,
      );
    });
  return {
    v1: {
      version: () =>
        call(
          '/v1beta1.KeyManagementService/Version',
          v1beta1.encodeVersionRequest,
          v1beta1.decodeVersionResponse,
          { version: 'v1beta1' },
        ),
      encrypt: (plain) =>
        call(
          '/v1beta1.KeyManagementService/Encrypt',
          v1beta1.encodeEncryptRequest,
          v1beta1.decodeEncryptResponse,
          { version: 'v1beta1', plain },
        ),
      decrypt: (cipher) =>
        call(
          '/v1beta1.KeyManagementService/Decrypt',
          v1beta1.encodeDecryptRequest,
          v1beta1.decodeDecryptResponse,
          { version: 'v1beta1', cipher },
        ),
    },
    v2: {
      status: () =>
        call(
          '/v2.KeyManagementService/Status',
          v2.encodeStatusRequest,
          v2.decodeStatusResponse,
          {},
        ),
      encrypt: (plaintext, uid) =>
        call(
          '/v2.KeyManagementService/Encrypt',
          v2.encodeEncryptRequest,
          v2.decodeEncryptResponse,
          {
            plaintext,
            uid,
          },
        ),
      decrypt: (request) =>
        call(
          '/v2.KeyManagementService/Decrypt',
          v2.encodeDecryptRequest,
          v2.decodeDecryptResponse,
          request,
        ),
    },
    close: () => client.close(),
  };
}
