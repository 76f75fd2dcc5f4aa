import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { encodeEncryptRequest } from '../../../src/kms/codec/v2.ts';
import {
  DATA,
  END_STREAM,
  frame,
  headerFrames,
  PREFACE,
  RST_STREAM,
  SETTINGS_ACK,
} from '../authority/http2-bytes.ts';
import { createEncoder, type Field } from '../authority/rfc7541.ts';
import { serveKms } from './kms-under-test.ts';

const STATUS = '/v2.KeyManagementService/Status';
const ENCRYPT = '/v2.KeyManagementService/Encrypt';
const EMPTY_SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const OPENING = Buffer.concat([PREFACE, EMPTY_SETTINGS]);
const SEED = Buffer.from('a data key of thirty-two bytes!!');
const CANCEL = 8;
const PROTOCOL_ERROR = 1;
const NOTHING = Buffer.alloc(0);
const AT_ONCE = 32;

/** What a request differs in from an ordinary Status; a header that is `undefined` is left out. */
type Request = {
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: Uint8Array;
  /** The client does not say that its message was the last. */
  readonly open?: boolean;
};

const KINDS: Readonly<Record<string, Request>> = {
  'a method that is served': {},
  'a method that takes time': {
    headers: { ':path': ENCRYPT },
    body: encodeEncryptRequest({ plaintext: SEED, uid: 'u' }),
  },
  'a method that is not served': { headers: { ':path': '/v2.KeyManagementService/Steal' } },
  'a method whose name is no text': { headers: { ':path': '/\xff\xfe"%\x80' } },
  'no content type': { headers: { 'content-type': undefined } },
  'another content type': { headers: { 'content-type': 'text/plain' } },
  GET: { headers: { ':method': 'GET' } },
  HEAD: { headers: { ':method': 'HEAD' } },
  'HEAD of a method that is not served': { headers: { ':method': 'HEAD', ':path': '/x' } },
  'a deadline that has passed': { headers: { 'grpc-timeout': '1n' } },
  'a deadline of a millisecond': {
    headers: { ':path': ENCRYPT, 'grpc-timeout': '1m' },
    body: encodeEncryptRequest({ plaintext: SEED, uid: 'u' }),
  },
  'a deadline that is none': { headers: { 'grpc-timeout': 'soon' } },
  'an encoding that is not known': { headers: { 'grpc-encoding': 'zstd' } },
  'a message that is none': { headers: { ':path': ENCRYPT }, body: Buffer.of(0x0a, 0xff, 0x01) },
  'a call whose client has not finished': { open: true },
};

/** Whether the connection is handed to the HTTP/2 server bare, or with its authority rewritten. */
const AUTHORITIES = { bare: 'localhost', rewritten: '/var/run/kms.sock' };

function bytesOf({ headers, body = NOTHING, open }: Request, authority: string): Buffer {
  const all = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': STATUS,
    ':authority': authority,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  };
  const fields = Object.entries(all).flatMap(([name, value]): Field[] =>
    value === undefined ? [] : [[name, value]],
  );
  const block = createEncoder().encode(
    fields.map((field) => [field, { indexing: 'without', nameIndex: true, huffman: false }]),
  );
  const message = Buffer.alloc(5 + body.length);
  message.writeUInt32BE(body.length, 1);
  message.set(body, 5);
  const data = frame(DATA, open === true ? 0 : END_STREAM, 1, message);
  return Buffer.concat([headerFrames(1, block), data]);
}

function resetOf(code: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(code);
  return frame(RST_STREAM, 0, 1, payload);
}

/** Writes the first piece, the second after the server's answer to it, and ends the connection. */
async function attack(socket: string, first: Buffer, second: Buffer): Promise<void> {
  const connection = connect(socket);
  connection.on('error', () => connection.destroy());
  const closed = new Promise<void>((resolve) => connection.on('close', () => resolve()));
  if (first.length > 0) {
    const answered = new Promise<void>((resolve) => connection.once('data', () => resolve()));
    connection.write(first);
    await Promise.race([answered, closed]);
  }
  connection.resume();
  connection.end(second);
  await closed;
}

describe('a client that resets its call, or leaves, after any of its bytes', () => {
  for (const [how, authority] of Object.entries(AUTHORITIES)) {
    for (const [kind, request] of Object.entries(KINDS)) {
      it(`ends nothing but its call: ${kind}, on a ${how} connection`, {
        timeout: 60_000,
      }, async (t) => {
        const { client, socket } = await serveKms(t);
        const bytes = bytesOf(request, authority);
        const attacks: (() => Promise<void>)[] = [];
        for (let at = 0; at <= bytes.length; at += 1) {
          const begun = bytes.subarray(0, at);
          for (const end of [resetOf(CANCEL), resetOf(PROTOCOL_ERROR), NOTHING]) {
            const last = Buffer.concat([SETTINGS_ACK, begun, end]);
            attacks.push(() => attack(socket, NOTHING, Buffer.concat([OPENING, last])));
            attacks.push(() => attack(socket, OPENING, last));
          }
        }
        while (attacks.length > 0) {
          await Promise.all(attacks.splice(0, AT_ONCE).map((one) => one()));
          assert.equal((await client.v2.status()).healthz, 'ok');
        }
        const encrypted = await client.v2.encrypt(SEED, 'after');
        const { plaintext } = await client.v2.decrypt({ ...encrypted, uid: 'after' });
        assert.deepEqual(Buffer.from(plaintext), SEED);
      });
    }
  }
});
