import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ciphertextOf, DECRYPT, ENCRYPT, KEY, LOGIN, refusal } from './fake-vault.ts';
import {
  bytes,
  type ProviderUnderTest,
  patient,
  said,
  startProvider,
} from './provider-under-test.ts';

const one = [bytes(ciphertextOf('one'))];
const DENIED = refusal(403, '1 error occurred:\n\t* permission denied\n\n');

/** From now on Vault knows none of the tokens made so far. */
function revokeAll({ vault }: ProviderUnderTest): void {
  const revoked = new Set(vault.seen.map(({ headers }) => headers['x-vault-token']));
  vault.rule = ({ path, headers }) =>
    path !== LOGIN && revoked.has(headers['x-vault-token']) ? DENIED : undefined;
}

describe('403 in service', () => {
  it('of a revoked token: one new login for all callers, and nobody sees it', async (t) => {
    const under = await startProvider(t);
    const { vault, provider } = under;
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['one']);
    revokeAll(under);
    const callers = Array.from({ length: 20 }, () => provider.decrypt(one, patient()));
    for (const results of await Promise.all(callers)) assert.deepEqual(said(results), ['one']);
    assert.equal(vault.count(LOGIN), 2);
  });

  it('to the fresh token too: denied after one more try, and says what to grant', async (t) => {
    const { vault, provider } = await startProvider(t);
    vault.rule = ({ path }) => (path === ENCRYPT ? DENIED : undefined);
    const [result] = await provider.encrypt([bytes('x')], 1, patient());
    assert.equal(result?.ok, false);
    assert.equal(result.error.kind, 'denied');
    assert.match(result.error.message, /policy.*update.*transit\/encrypt\/kubernetes/);
    assert.equal(vault.count(ENCRYPT), 2);
    assert.equal(vault.count(LOGIN), 2);
  });

  it('on reading the key: says that read is missing', async (t) => {
    const { vault, provider } = await startProvider(t);
    vault.rule = ({ path }) => (path === KEY ? DENIED : undefined);
    const described = await provider.describe(patient());
    assert.equal(described.ok, false);
    assert.match(described.error.message, /read on transit\/keys\/kubernetes/);
  });

  it('for one operation only, again and again: few logins, and the others are served', async (t) => {
    const { vault, provider, clock } = await startProvider(t);
    vault.rule = ({ path }) => (path === ENCRYPT ? DENIED : undefined);
    for (let second = 0; second < 30; second += 1) {
      const denied = await provider.encrypt([bytes('x')], 1, patient());
      assert.deepEqual(said(denied), ['error: denied']);
      assert.deepEqual(said(await provider.decrypt(one, patient())), ['one']);
      await clock.advance(1_000);
    }
    assert.ok(vault.count(LOGIN) <= 15, `${vault.count(LOGIN)} logins for 30 denials`);
  });

  it('while nobody can log in: what hinders the login, not what hindered the request', async (t) => {
    const under = await startProvider(t);
    const { vault, provider } = under;
    await provider.decrypt(one, patient());
    revokeAll(under);
    vault.next(LOGIN, refusal(503, 'Vault is sealed'));
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['error: unavailable']);
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['one'], 'the next one logs in');
  });
});

describe('credentials on disk', () => {
  it('of another content are read at the next login', async (t) => {
    const under = await startProvider(t);
    const { vault, provider, secrets } = under;
    await provider.decrypt(one, patient());
    secrets.set('/secret-id', 'a-new-secret-id');
    revokeAll(under);
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['one']);
    const sent = vault.seen.filter(({ path }) => path === LOGIN).map(({ body }) => body);
    assert.deepEqual(sent, [
      { role_id: 'a-role-id', secret_id: 'a-secret-id' },
      { role_id: 'a-role-id', secret_id: 'a-new-secret-id' },
    ]);
  });

  it('that are a token: a new one is used as soon as the old one is refused', async (t) => {
    const under = await startProvider(t, { auth: { token: { tokenFile: '/token' } } });
    const { vault, provider, secrets } = under;
    secrets.set('/token', 'hvs.the-first-token');
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['one']);
    revokeAll(under);
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['error: denied']);
    secrets.set('/token', 'hvs.the-second-token');
    assert.deepEqual(said(await provider.decrypt(one, patient())), ['one']);
    await provider.stop();
    assert.equal(vault.count('auth/token/revoke-self'), 0, 'a token of others is not ours to end');
    assert.equal(vault.seen.at(-1)?.path, DECRYPT);
  });

  it('that are empty or missing: denied, and Vault is not asked', async (t) => {
    const { vault, provider, secrets } = await startProvider(t);
    secrets.clear();
    const [result] = await provider.decrypt(one, patient());
    assert.equal(result?.ok, false);
    assert.equal(result.error.kind, 'denied');
    assert.match(result.error.message, /\/secret-id/);
    assert.deepEqual(vault.seen, []);
  });
});
