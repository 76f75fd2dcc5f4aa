import assert from 'node:assert/strict';
import { connect as connectSession } from 'node:http2';
import { connect as connectTo, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { healthOf } from '../../../src/keyring/health.ts';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { acceptConnection } from '../../../src/kms/authority/connection.ts';
import { createKmsClient, type KmsClient } from '../../../src/kms/client.ts';
import { createKmsServer, type KmsServer } from '../../../src/kms/server.ts';
import * as v1beta1 from '../../../src/kms/v1beta1.ts';
import * as v2 from '../../../src/kms/v2.ts';
import { createLog } from '../../../src/observe/log.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';
import { temporaryFolder } from '../temporary-folder.ts';

type Setup = {
  readonly client: KmsClient;
  readonly provider: FakeProvider;
  readonly socket: string;
  readonly kms: KmsServer;
  readonly lines: string[];
  readonly stopListening: () => Promise<void>;
};

const PLAIN = Buffer.from('a data key of thirty-two bytes!!');
const NONE: ReadonlyMap<string, Uint8Array> = new Map();

async function setUp(t: TestContext): Promise<Setup> {
  const socket = join(temporaryFolder(t), 'kms.sock');
  const lines: string[] = [];
  const log = createLog({ level: 'debug', format: 'json', write: (line) => void lines.push(line) });
  const provider = createFakeProvider();
  const keyring = createKeyring({
    writer: provider,
    readers: [provider],
    watchIntervalMs: 30_000,
    clock: systemClock,
    log,
  });
  const kms = createKmsServer(
    [
      v1beta1.versionMethod({ name: 'Trousseau', version: '3.0.0' }),
      v1beta1.encryptMethod(keyring),
      v1beta1.decryptMethod(keyring),
      v2.statusMethod(() => healthOf(keyring.state(), systemClock.now(), undefined)),
      v2.encryptMethod(keyring),
      v2.decryptMethod(keyring),
    ],
    { log, clock: systemClock },
  );
  const listener = createServer((connection) => acceptConnection(connection, kms.connect));
  await new Promise<void>((resolve) => listener.listen(socket, resolve));
  keyring.start();
  const client = createKmsClient(socket, 2_000);
  const stopListening = (): Promise<void> =>
    new Promise((resolve) => listener.close(() => resolve()));
  t.after(async () => {
    client.close();
    const closing = listener.listening ? stopListening() : undefined;
    await kms.drain(500);
    await keyring.stop();
    await closing;
  });
  await eventually(async () => (await client.v2.status()).healthz === 'ok');
  return { client, provider, socket, kms, lines, stopListening };
}

/** Asks again until it holds; the test's own time-out is the bound. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds().catch(() => false))) await new Promise((resolve) => setImmediate(resolve));
}

function refusal(code: string, details: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.match(String(error), new RegExp(`${code}.*${details.source}`));
    return true;
  };
}

describe('KMS v1', () => {
  it('answers Version with exactly v1beta1 and a semantic version', async (t) => {
    const { client } = await setUp(t);
    assert.deepEqual(await client.v1.version(), {
      version: 'v1beta1',
      runtime_name: 'Trousseau',
      runtime_version: '3.0.0',
    });
  });

  it('encrypts and decrypts', async (t) => {
    const { client } = await setUp(t);
    const { cipher } = await client.v1.encrypt(PLAIN);
    assert.match(Buffer.from(cipher).toString(), /^fake:v1:/);
    assert.deepEqual(Buffer.from((await client.v1.decrypt(cipher)).plain), PLAIN);
  });

  it('takes no more than 64 KiB, and no more than kube-apiserver can store the ciphertext of', async (t) => {
    const { client } = await setUp(t);
    const large = Buffer.alloc(48_000, 7);
    const { cipher } = await client.v1.encrypt(large);
    assert.deepEqual(Buffer.from((await client.v1.decrypt(cipher)).plain), large);
    await assert.rejects(
      client.v1.encrypt(Buffer.alloc(65_536)),
      refusal('INVALID_ARGUMENT', /stores at most 65535/),
    );
    await assert.rejects(
      client.v1.encrypt(Buffer.alloc(65_537)),
      refusal('INVALID_ARGUMENT', /at most 65536 are taken/),
    );
  });
});

describe('KMS v2', () => {
  it('answers Status, Encrypt and Decrypt under one key_id', async (t) => {
    const { client } = await setUp(t);
    const status = await client.v2.status();
    const encrypted = await client.v2.encrypt(PLAIN, 'uid-1');
    assert.equal(status.version, 'v2');
    assert.equal(encrypted.key_id, status.key_id);
    const decrypted = await client.v2.decrypt({ ...encrypted, uid: 'uid-2' });
    assert.deepEqual(Buffer.from(decrypted.plaintext), PLAIN);
  });

  it('decrypts under any key_id and with annotations of others', async (t) => {
    const { client } = await setUp(t);
    const { ciphertext } = await client.v2.encrypt(PLAIN, 'uid');
    const annotations = new Map([['v2.kleidi.beezy.dev', Buffer.from('1')]]);
    for (const key_id of ['2', 'kleidi-kms-plugin', '1700000000']) {
      const { plaintext } = await client.v2.decrypt({
        ciphertext,
        uid: 'uid',
        key_id,
        annotations,
      });
      assert.deepEqual(Buffer.from(plaintext), PLAIN);
    }
  });

  const bad: [string, Uint8Array, string, ReadonlyMap<string, Uint8Array>, RegExp][] = [
    ['an empty ciphertext', Buffer.alloc(0), 'k', NONE, /ciphertext is empty/],
    ['a ciphertext of 1025 bytes', Buffer.alloc(1025), 'k', NONE, /stores at most 1024/],
    ['bytes that no provider writes', Buffer.from('vault:v1'), 'k', NONE, /not of a form/],
    ['a cut ciphertext', Buffer.from('fake:v1:QUJD'), 'k', NONE, /does not authenticate/],
    ['an empty key_id', Buffer.from('fake:v1:QUJD'), '', NONE, /key_id is empty/],
    [
      'an annotation that is no domain name',
      Buffer.from('fake:v1:QUJD'),
      'k',
      new Map([['x', Buffer.of(1)]]),
      /annotation key/,
    ],
  ];
  for (const [name, ciphertext, key_id, annotations, details] of bad) {
    it(`answers ${name} with INVALID_ARGUMENT`, async (t) => {
      const { client } = await setUp(t);
      await assert.rejects(
        client.v2.decrypt({ ciphertext, uid: 'u', key_id, annotations }),
        refusal('INVALID_ARGUMENT', details),
      );
    });
  }

  it('answers with a failure, never with an empty ciphertext, when the provider fails', async (t) => {
    const { client, provider } = await setUp(t);
    provider.failing.encrypt = 'denied';
    await assert.rejects(
      client.v2.encrypt(PLAIN, 'u'),
      refusal('PERMISSION_DENIED', /told to fail/),
    );
    provider.failing.encrypt = 'unavailable';
    await assert.rejects(client.v2.encrypt(PLAIN, 'u'), refusal('UNAVAILABLE', /told to fail/));
  });
});

describe('what a call leaves behind', () => {
  it('is one debug line with its uid, duration, key version and outcome, and nothing that was in it', async (t) => {
    const { client, lines } = await setUp(t);
    const encrypted = await client.v2.encrypt(PLAIN, 'uid-77');
    await client.v2.decrypt({ ...encrypted, uid: 'uid-78' });
    const calls = lines.map((line) => JSON.parse(line)).filter(({ uid }) => uid !== undefined);
    assert.deepEqual(
      calls.map(({ method, uid, keyVersion, outcome, ms }) => [
        method,
        uid,
        keyVersion,
        outcome,
        typeof ms,
      ]),
      [
        ['/v2.KeyManagementService/Encrypt', 'uid-77', 1, 'OK', 'number'],
        ['/v2.KeyManagementService/Decrypt', 'uid-78', 1, 'OK', 'number'],
      ],
    );
    const all = lines.join('');
    for (const secret of [
      PLAIN.toString(),
      PLAIN.toString('base64'),
      PLAIN.toString('hex'),
      Buffer.from(encrypted.ciphertext).toString(),
    ]) {
      assert.equal(all.includes(secret), false);
    }
  });
});

describe('a client that does not keep to the protocol', () => {
  const hostile: [string, (socket: string) => Promise<void>][] = [
    ['an unknown method', (socket) => unknownMethod(socket, '/v2.KeyManagementService/Steal')],
    ['an unknown service', (socket) => unknownMethod(socket, '/v3.KeyManagementService/Status')],
  ];
  for (const [name, act] of hostile) {
    it(`is answered UNIMPLEMENTED: ${name}`, async (t) => {
      const { client, socket } = await setUp(t);
      await act(socket);
      assert.equal((await client.v2.status()).healthz, 'ok');
    });
  }

  it('is told that its message is too large', async (t) => {
    const { client } = await setUp(t);
    await assert.rejects(
      client.v1.encrypt(Buffer.alloc(1 << 20)),
      refusal('RESOURCE_EXHAUSTED', /larger than max/),
    );
    assert.equal((await client.v2.status()).healthz, 'ok');
  });
});

function unknownMethod(socket: string, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const session = connectSession('http://localhost', {
      createConnection: () => connectTo(socket),
    });
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('response', (headers) => {
      session.close();
      const UNIMPLEMENTED = '12';
      if (headers['grpc-status'] === UNIMPLEMENTED) resolve();
      else reject(new Error(`grpc-status ${headers['grpc-status']}`));
    });
    stream.on('error', reject);
    stream.end(Buffer.alloc(5));
  });
}

describe('a stop', () => {
  it('loses no call of a client that keeps calling', async (t) => {
    const { client, kms, stopListening } = await setUp(t);
    const calls = Array.from({ length: 200 }, (_, i) => client.v2.encrypt(PLAIN, `uid-${i}`));
    await Promise.race(calls);
    const closing = stopListening();
    const [answers] = await Promise.all([Promise.allSettled(calls), kms.drain(4_000), closing]);
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], ['fulfilled']);
  });
});
