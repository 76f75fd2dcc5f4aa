/** Clients that come, call and go, some of them in the middle of a sentence. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { Client, credentials } from '@grpc/grpc-js';
import * as v2 from '../../src/kms/codec/v2.ts';
import type { Sealed } from './calls.ts';

const TIMEOUT_MS = 3_000;
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

/** Connects anew, which createKmsClient does not: the clients of a process share connections. */
export async function callOnce(
  socket: string,
  { ciphertext, key_id, plaintext }: Sealed,
): Promise<void> {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_channelz': 0,
  });
  const request = { ciphertext, key_id, uid: 'short', annotations: new Map<string, Uint8Array>() };
  try {
    const answer = await new Promise<v2.DecryptResponse>((resolve, reject) => {
      client.makeUnaryRequest(
        '/v2.KeyManagementService/Decrypt',
        (r: v2.DecryptRequest) => Buffer.from(v2.encodeDecryptRequest(r)),
        v2.decodeDecryptResponse,
        request,
        { deadline: Date.now() + TIMEOUT_MS },
        (error, response) => {
          if (response === undefined) reject(error ?? new Error('no reply'));
          else resolve(response);
        },
      );
    });
    assert.ok(Buffer.compare(answer.plaintext, plaintext) === 0, 'WRONG ANSWER: another plaintext');
  } finally {
    client.close();
  }
}

/** Hangs up within or after the preface of HTTP/2. */
export async function hangUp(socket: string, n: number): Promise<void> {
  const connection = createConnection(socket);
  connection.on('error', () => undefined); // the daemon may hang up first
  await once(connection, 'connect');
  connection.write(PREFACE.slice(0, n % (PREFACE.length + 1)));
  connection.destroy();
}
