import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  ciphertextOf,
  DECRYPT,
  ENCRYPT,
  type FakeAnswer,
  type FakeVault,
  json,
  KEY,
  LOGIN,
  refusal,
  startFakeVault,
  tampered,
} from './fake-vault.ts';
import { bytes, patient, said, startProvider } from './provider-under-test.ts';

const one = [bytes(ciphertextOf('one'))];
const page: FakeAnswer = { kind: 'raw', status: 200, type: 'text/html', text: '<p>secret</p>' };

describe('a connection that breaks', () => {
  it('in mid-request on a keep-alive socket: tried again at once on a fresh one', async (t) => {
    const { vault, provider } = await startProvider(t);
    const used = new Set<number>();
    vault.rule = ({ path, connection }) => {
      if (path === DECRYPT && used.has(connection)) return { kind: 'close' };
      used.add(connection);
      return undefined;
    };
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['one']);
    // The clock stands still: a wait before the next try would last for ever.
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['one']);
    assert.ok(vault.count(DECRYPT) > 2, 'a keep-alive connection was used and broke');
  });

  it('in the middle of the reply: tried again, and nobody sees half an answer', async (t) => {
    const { vault, provider } = await startProvider(t);
    vault.next(DECRYPT, { kind: 'cut' });
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['one']);
  });

  for (const kind of ['close', 'cut'] as const) {
    it(`each time (${kind}): unavailable, after few tries`, async (t) => {
      const { vault, provider } = await startProvider(t);
      vault.rule = ({ path }) => (path === DECRYPT ? { kind } : undefined);
      assert.deepEqual(said(await provider.decrypt(one, patient())), ['error: unavailable']);
      const tries = vault.count(DECRYPT);
      assert.ok(tries > 1 && tries <= 10, `${tries} tries`);
    });
  }
});

describe('a connection that breaks under a login', () => {
  for (const kind of ['close', 'cut'] as const) {
    it(`${kind}: sends it no second time, since Vault may have granted a token`, async (t) => {
      const { vault, provider } = await startProvider(t);
      vault.rule = ({ path }) => (path === LOGIN ? { kind } : undefined);
      assert.deepEqual(said(await provider.decrypt(one, patient())), ['error: unavailable']);
      assert.equal(vault.count(LOGIN), 1);
      const [again] = await provider.decrypt(one, patient());
      assert.ok(again?.ok === false && (again.error.retryAfterMs ?? 0) > 0);
      assert.match(again.error.message, /may have left a token in Vault, .* follows in 1 s/);
      assert.equal(vault.count(LOGIN), 1);
    });
  }
});

describe('a reply that is none of Vault', () => {
  const table: readonly (readonly [string, FakeAnswer, string])[] = [
    ['a page of a proxy with 200', page, 'unavailable'],
    ['a page of a proxy with 403', { ...page, status: 403 }, 'unavailable'],
    ['JSON cut short', { ...page, type: 'application/json', text: '{"data":' }, 'unavailable'],
    ['a list', { ...page, type: 'application/json', text: '[1]' }, 'unavailable'],
    ['10 MB', json(200, { data: 'x'.repeat(10 << 20) }), 'unavailable'],
    ['no data', json(200, {}), 'unavailable'],
    ['204 without a body', { ...page, status: 204, text: '' }, 'unavailable'],
    ['a page of a proxy with 429', { ...page, status: 429 }, 'throttled'],
    ['JSON of a gateway with 403', json(403, { message: 'secret' }), 'unavailable'],
    ['JSON of a gateway with 400', json(400, { errors: [{ code: 'secret' }] }), 'unavailable'],
    ['a redirect', { ...page, status: 302, headers: { location: '/?secret' } }, 'unavailable'],
  ];
  for (const [what, answer, kind] of table) {
    it(`${what}: ${kind}, and what it held is not repeated`, async (t) => {
      const { vault, provider } = await startProvider(t);
      vault.rule = ({ path }) => (path === LOGIN ? undefined : answer);
      for (const results of [
        await provider.decrypt(one, patient()),
        await provider.encrypt([bytes('x')], 1, patient()),
        [await provider.describe(patient())],
      ]) {
        const [result] = results;
        assert.equal(result?.ok === false && result.error.kind, kind);
        assert.doesNotMatch(JSON.stringify(result), /secret|xxx/);
      }
    });
  }
});

describe('a status of Vault', () => {
  it('429 with Retry-After: throttled, with the wait', async (t) => {
    const { vault, provider } = await startProvider(t);
    vault.next(
      DECRYPT,
      json(429, { errors: ['rate limit quota exceeded'] }, { 'retry-after': '7' }),
    );
    const [result] = await provider.decrypt(one, patient());
    assert.equal(result?.ok, false);
    assert.equal(result.error.kind, 'throttled');
    assert.equal(result.error.retryAfterMs, 7_000);
    assert.equal(vault.count(DECRYPT), 1);
  });

  it('503 with Retry-After: unavailable, with a wait of two seconds at most', async (t) => {
    const { vault, provider } = await startProvider(t);
    vault.next(DECRYPT, json(503, { errors: [] }, { 'retry-after': '7' }));
    const [result] = await provider.decrypt(one, patient());
    assert.equal(result?.ok, false);
    assert.equal(result.error.kind, 'unavailable');
    assert.equal(result.error.retryAfterMs, 2_000);
  });

  for (const [status, kind] of [
    [429, 'throttled'],
    [503, 'unavailable'],
  ] as const) {
    it(`${status} on a page of a proxy: ${kind}, with a wait of two seconds at most`, async (t) => {
      const { vault, provider } = await startProvider(t);
      vault.next(DECRYPT, { ...page, status, headers: { 'retry-after': '7' } });
      const [result] = await provider.decrypt(one, patient());
      assert.equal(result?.ok, false);
      assert.equal(result.error.kind, kind);
      assert.equal(result.error.retryAfterMs, 2_000);
    });
  }

  const table: readonly (readonly [number, string, string])[] = [
    [412, 'required index state not present', 'unavailable'],
    [429, 'rate limit quota exceeded', 'throttled'],
    [473, '', 'unavailable'],
    [307, '', 'unavailable'],
    [500, 'internal error', 'unavailable'],
    [503, 'Vault is sealed', 'unavailable'],
    [400, 'encryption key not found', 'denied'],
  ];
  for (const [status, error, kind] of table) {
    it(`${status} ${error}: ${kind} for each item, on every method and at login`, async (t) => {
      const { vault, provider } = await startProvider(t);
      vault.rule = ({ path }) => (path === LOGIN ? undefined : refusal(status, error));
      const two = [bytes(ciphertextOf('a')), bytes(ciphertextOf('b'))];
      const failed = `error: ${kind}`;
      assert.deepEqual(said(await provider.decrypt(two, patient())), [failed, failed]);
      assert.deepEqual(said(await provider.encrypt(two, 1, patient())), [failed, failed]);
      const described = await provider.describe(patient());
      assert.equal(described.ok === false && described.error.kind, kind);

      const other = await startProvider(t);
      other.vault.next(LOGIN, refusal(status, error));
      assert.deepEqual(said(await other.provider.decrypt(two, patient())), [failed, failed]);
      assert.equal(other.vault.count(DECRYPT), 0);
    });
  }
});

describe('results that do not fit what was asked', () => {
  const results = (...batch: unknown[]): FakeAnswer =>
    json(200, { data: { batch_results: batch } });
  const encrypting: readonly (readonly [string, FakeAnswer, string?])[] = [
    ['another version', results({ ciphertext: ciphertextOf('xx', 2) })],
    ['no ciphertext', results({ ciphertext: 'vault:v1:!' })],
    ['another kind of ciphertext', results({ ciphertext: 'local:v1:AAAA' })],
    ['a ciphertext too short for the plaintext', results({ ciphertext: ciphertextOf('') })],
    ['the plaintext', results({ plaintext: 'eHg=' }), 'unavailable'],
    [
      'two results',
      results({ ciphertext: ciphertextOf('xx') }, { ciphertext: ciphertextOf('y') }),
      'unavailable',
    ],
    ['no result', results(), 'unavailable'],
    ['a result that is no object', results(null), 'unavailable'],
    ['a number in place of a ciphertext', results({ ciphertext: 1 }), 'unavailable'],
  ];
  for (const [what, answer, kind = 'internal'] of encrypting) {
    it(`encrypting answers ${what}: ${kind}`, async (t) => {
      const { vault, provider } = await startProvider(t);
      vault.next(ENCRYPT, answer);
      const [result, ...more] = await provider.encrypt([bytes('xx')], 1, patient());
      assert.equal(result?.ok === false && result.error.kind, kind);
      assert.deepEqual(more, []);
    });
  }

  it('decrypting answers fewer or more results than asked: it is not Vault that answers', async (t) => {
    const { vault, provider } = await startProvider(t);
    const two = [bytes(ciphertextOf('a')), bytes(ciphertextOf('b'))];
    for (const batch of [[], [{ plaintext: 'YQ==' }], Array(3).fill({ plaintext: 'YQ==' })]) {
      vault.next(DECRYPT, results(...batch));
      const expected = ['error: unavailable', 'error: unavailable'];
      assert.deepEqual(said(await provider.decrypt(two, patient())), expected);
    }
  });

  it('decrypting answers what is no base64: internal, never bytes made of it', async (t) => {
    const { vault, provider } = await startProvider(t);
    for (const plaintext of ['YQ', 'Y', '!!!!', 'YQ==YQ==', 'YR==']) {
      vault.next(DECRYPT, results({ plaintext }));
      assert.deepEqual(
        said(await provider.decrypt(one, patient())),
        ['error: internal'],
        plaintext,
      );
    }
  });
});

describe('one bad ciphertext among good ones', () => {
  it('fails the whole batch in Vault 1.9.3: the neighbours are served all the same', async (t) => {
    const { vault, provider } = await startProvider(t);
    for (const bad of [0, 3, 6]) {
      const texts = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
      const batch = texts.map((text, i) => bytes(i === bad ? tampered() : ciphertextOf(text)));
      const expected = texts.map((text, i) => (i === bad ? 'error: invalid' : text));
      assert.deepEqual(said(await provider.decrypt(batch, patient())), expected);
    }
    assert.equal(vault.count(LOGIN), 1);
  });

  it('and many more of them are found by one request at a time', async (t) => {
    const { vault, provider } = await startProvider(t);
    const batch = Array.from({ length: 32 }, (_, i) => bytes(tampered(`${i}`)));
    const expected = batch.map(() => 'error: invalid');
    assert.deepEqual(said(await provider.decrypt(batch, patient())), expected);
    // A connection carries one request at a time, and the next request takes the other of two.
    const connections = new Set(vault.seen.map(({ connection }) => connection));
    assert.ok(connections.size <= 2, `${connections.size} connections`);
    assert.equal(vault.count(DECRYPT), 63);
  });

  it('fails alone in 1.12 and newer, which answer 400 with the results in it', async (t) => {
    const { vault, provider } = await startProvider(t);
    const batch = [{ plaintext: 'YQ==' }, { error: 'cipher: message authentication failed' }];
    vault.next(DECRYPT, json(400, { data: { batch_results: batch } }));
    const two = [bytes(ciphertextOf('a')), bytes(tampered())];
    assert.deepEqual(said(await provider.decrypt(two, patient())), ['a', 'error: invalid']);
    assert.equal(vault.count(DECRYPT), 1);
  });

  it('never reaches Vault where it is not whole', async (t) => {
    const { vault, provider } = await startProvider(t);
    const results = await provider.decrypt([bytes('vault:v1:AA'), ...one], patient());
    assert.deepEqual(said(results), ['error: invalid', 'one']);
    assert.deepEqual(vault.seen.at(-1)?.body['batch_input'], [{ ciphertext: ciphertextOf('one') }]);
  });
});

describe('a version of the key that a server does not know yet', () => {
  const versionOf = (ciphertext: unknown): number =>
    Number(/^vault:v(\d+)/.exec(`${ciphertext}`)?.[1]);

  /** As a performance standby with version 1 while the key has version 2 (path_decrypt.go, path_encrypt.go). */
  const lagging: FakeVault['rule'] = ({ path, body }) => {
    const items = body['batch_input'];
    if ((path !== DECRYPT && path !== ENCRYPT) || !Array.isArray(items)) return undefined;
    const batch_results = items.map(({ ciphertext, key_version }) => {
      if (path === ENCRYPT)
        return { error: 'requested version for encryption is higher than the latest key version' };
      return versionOf(ciphertext) > 1 || key_version > 1
        ? { error: 'invalid ciphertext: version is too new' }
        : { plaintext: Buffer.from('old').toString('base64') };
    });
    return json(400, { data: { batch_results } });
  };
  const mixed = [bytes(ciphertextOf('old')), bytes(ciphertextOf('new', 2))];

  it('is asked of the other servers, for those items alone', async (t) => {
    const other = await startFakeVault(t);
    const { vault, provider } = await startProvider(t, { more: [other] });
    vault.rule = lagging;
    assert.deepEqual(said(await provider.decrypt(mixed, patient())), ['old', 'new']);
    assert.deepEqual(other.seen.at(-1)?.body['batch_input'], [
      { ciphertext: ciphertextOf('new', 2) },
    ]);
    const [encrypted] = await provider.encrypt([bytes('x')], 2, patient());
    assert.equal(encrypted?.ok, true);
    assert.deepEqual([vault.count(DECRYPT), vault.count(ENCRYPT)], [1, 1]);
  });

  it('may be known a moment later where no other server knows it: neither damaged nor an outage', async (t) => {
    const other = await startFakeVault(t);
    for (const others of [[], [other]]) {
      const { vault, provider } = await startProvider(t, { more: others });
      for (const each of [vault, other]) each.rule = lagging;
      assert.deepEqual(said(await provider.decrypt(mixed, patient())), ['old', 'error: behind']);
      const [encrypted] = await provider.encrypt([bytes('x')], 2, patient());
      assert.equal(encrypted?.ok === false && encrypted.error.kind, 'behind');
      assert.equal(vault.count(DECRYPT), 1, 'and it is not asked twice at once');
    }
  });
});

describe('every request', () => {
  it('names the namespace, login and farewell included, and says that it is no forgery', async (t) => {
    const { vault, provider } = await startProvider(t, { namespace: 'admin/team-a' });
    await provider.describe(patient());
    await provider.encrypt([bytes('x')], 1, patient());
    await provider.decrypt(one, patient());
    await provider.stop();
    const paths = [LOGIN, KEY, ENCRYPT, DECRYPT, 'auth/token/revoke-self'];
    assert.deepEqual(
      vault.seen.map(({ path }) => path),
      paths,
    );
    for (const { headers } of vault.seen) {
      assert.equal(headers['x-vault-namespace'], 'admin/team-a');
      assert.equal(headers['x-vault-request'], 'true');
    }
  });

  it('is known to no cache where it is a login: Vault Agent knows a request by its headers and body', async (t) => {
    const { vault, provider } = await startProvider(t);
    await provider.decrypt(one, patient());
    vault.next(DECRYPT, refusal(403, 'permission denied', 'invalid token'));
    await provider.decrypt(one, patient());
    const ids = vault.seen
      .filter(({ path }) => path === LOGIN)
      .map(({ headers }) => headers['x-request-id']);
    assert.equal(ids.length, 2);
    assert.equal(new Set(ids).size, 2);
    assert.ok(ids.every((id) => typeof id === 'string' && id.length > 30));
    const others = vault.seen.filter(({ path }) => path !== LOGIN);
    assert.ok(others.every(({ headers }) => !('x-request-id' in headers)));
  });

  it('names no namespace where none is configured, and no token at login', async (t) => {
    const { vault, provider } = await startProvider(t);
    await provider.decrypt(one, patient());
    const [login, decrypt] = vault.seen.map(({ headers }) => headers);
    assert.equal(login?.['x-vault-token'], undefined);
    assert.equal(decrypt?.['x-vault-token'], 'hvs.fake-token-1');
    assert.ok(vault.seen.every(({ headers }) => !('x-vault-namespace' in headers)));
  });
});
