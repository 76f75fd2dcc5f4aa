import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { SAMPLE_UID } from '../../../src/kms/v2.ts';
import { type Clock, systemClock } from '../../../src/system/clock.ts';
import { serveKms } from './kms-under-test.ts';

const PLAIN = Buffer.from('a data key of thirty-two bytes!!');
const NONE: ReadonlyMap<string, Uint8Array> = new Map();

function refusal(code: string, details: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.match(String(error), new RegExp(`${code}.*${details.source}`));
    return true;
  };
}

describe('KMS v1', () => {
  it('answers Version with exactly v1beta1 and a semantic version', async (t) => {
    const { client } = await serveKms(t);
    assert.deepEqual(await client.v1.version(), {
      version: 'v1beta1',
      runtime_name: 'Trousseau',
      runtime_version: '3.0.0',
    });
  });

  it('encrypts and decrypts', async (t) => {
    const { client } = await serveKms(t);
    const { cipher } = await client.v1.encrypt(PLAIN);
    assert.match(Buffer.from(cipher).toString(), /^fake:v1:/);
    assert.deepEqual(Buffer.from((await client.v1.decrypt(cipher)).plain), PLAIN);
  });

  it('takes no more than 64 KiB, and no more than kube-apiserver can store the ciphertext of', async (t) => {
    const { client } = await serveKms(t);
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
    const { client } = await serveKms(t);
    const status = await client.v2.status();
    const encrypted = await client.v2.encrypt(PLAIN, 'uid-1');
    assert.equal(status.version, 'v2');
    assert.equal(encrypted.key_id, status.key_id);
    const decrypted = await client.v2.decrypt({ ...encrypted, uid: 'uid-2' });
    assert.deepEqual(Buffer.from(decrypted.plaintext), PLAIN);
  });

  it('decrypts under any key_id and with annotations of others', async (t) => {
    const { client } = await serveKms(t);
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
      const { client } = await serveKms(t);
      await assert.rejects(
        client.v2.decrypt({ ciphertext, uid: 'u', key_id, annotations }),
        refusal('INVALID_ARGUMENT', details),
      );
    });
  }

  it('answers with a failure, never with an empty ciphertext, when the provider fails', async (t) => {
    const { client, provider } = await serveKms(t);
    provider.failing.encrypt = 'denied';
    await assert.rejects(
      client.v2.encrypt(PLAIN, 'u'),
      refusal('PERMISSION_DENIED', /told to fail/),
    );
    provider.failing.encrypt = 'unavailable';
    await assert.rejects(client.v2.encrypt(PLAIN, 'u'), refusal('UNAVAILABLE', /told to fail/));
  });
});

describe('KMS v2 in an outage, with the decrypt cache', () => {
  const CACHE = { maxEntries: 10, maxAgeMs: 60_000 };

  async function seedOfAnOutage(t: TestContext) {
    let ahead = 0;
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + ahead };
    const served = await serveKms(t, { cache: CACHE, clock });
    const { client, provider } = served;
    const ordinary = await client.v2.encrypt(PLAIN, 'u');
    provider.failing.all = 'unavailable';
    await assert.rejects(client.v2.encrypt(PLAIN, 'u'), refusal('UNAVAILABLE', /told to fail/));
    ahead = 10_000;
    return { ...served, ordinary, encrypted: await client.v2.encrypt(PLAIN, 'u') };
  }

  it('encrypts under a local KEK, which goes into an annotation, and decrypts it again', async (t) => {
    const { client, encrypted } = await seedOfAnOutage(t);
    const { healthz, key_id } = await client.v2.status();
    assert.match(healthz, /unavailable/);
    assert.equal(encrypted.key_id, key_id);
    assert.deepEqual([...encrypted.annotations.keys()], ['local-kek.trousseau.io']);
    const { plaintext } = await client.v2.decrypt({ ...encrypted, uid: 'u' });
    assert.deepEqual(Buffer.from(plaintext), PLAIN);
  });

  it('makes no exception for a measurement, which is about the provider', async (t) => {
    const { client } = await seedOfAnOutage(t);
    await assert.rejects(
      client.v2.encrypt(PLAIN, `${SAMPLE_UID}1`),
      refusal('UNAVAILABLE', /told to fail/),
    );
  });

  it('says which annotation is missing or wrong', async (t) => {
    const { client, ordinary, encrypted } = await seedOfAnOutage(t);
    await assert.rejects(
      client.v2.decrypt({ ...encrypted, uid: 'u', annotations: NONE }),
      refusal('INVALID_ARGUMENT', /annotation local-kek\.trousseau\.io that holds it is missing/),
    );
    const annotations = new Map([['local-kek.trousseau.io', ordinary.ciphertext]]);
    await assert.rejects(
      client.v2.decrypt({ ...encrypted, uid: 'u', annotations }),
      refusal('INVALID_ARGUMENT', /do not belong together/),
    );
  });
});

describe('a failure whose message is no Unicode', () => {
  it('is answered as any other one, and the next call is served', async (t) => {
    const { client, provider } = await serveKms(t);
    provider.says = ' half a \ud83d';
    provider.failing.decrypt = 'invalid';
    const sealed = {
      ciphertext: Buffer.from('fake:v1:AAAA'),
      uid: 'u',
      key_id: 'k',
      annotations: new Map(),
    };
    await assert.rejects(client.v2.decrypt(sealed), refusal('INVALID_ARGUMENT', /half a \ufffd/));
    assert.match((await client.v2.status()).key_id, /^fake:v1:/);
  });
});

describe('what a call leaves behind', () => {
  it('is one debug line with its uid, duration, key version and outcome, and nothing that was in it', async (t) => {
    const { client, lines } = await serveKms(t);
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

describe('a stop', () => {
  it('loses no call of a client that keeps calling', async (t) => {
    const { client, kms, stopListening } = await serveKms(t);
    const calls = Array.from({ length: 200 }, (_, i) => client.v2.encrypt(PLAIN, `uid-${i}`));
    await Promise.race(calls);
    const closing = stopListening();
    const [answers] = await Promise.all([Promise.allSettled(calls), kms.drain(4_000), closing]);
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], ['fulfilled']);
  });
});
