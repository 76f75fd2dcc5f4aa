import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { waitUntil } from '../../servers/wait-until.ts';
import {
  ciphertextOf,
  DECRYPT,
  type FakeAnswer,
  granting,
  LOGIN,
  REVOKE,
  startFakeVault,
} from './fake-vault.ts';
import { bytes, patient, said, startProvider } from './provider-under-test.ts';

const one = [bytes(ciphertextOf('one'))];

describe('a server that hangs', () => {
  /** The connection of the next request to a path, once it has come in. */
  const held = (): { answer: FakeAnswer; arrived: Promise<{ gone: Promise<void> }> } => {
    const { promise, resolve } = Promise.withResolvers<{ gone: Promise<void> }>();
    return { answer: { kind: 'hold', held: (gone) => resolve({ gone }) }, arrived: promise };
  };

  for (const path of [DECRYPT, LOGIN]) {
    it(`lets go of the caller that gives up at ${path}`, async (t) => {
      const { vault, provider, clock } = await startProvider(t);
      const { answer, arrived } = held();
      vault.next(path, answer);
      const caller = new AbortController();
      const answered = provider.decrypt(one, caller.signal);
      const { gone } = await arrived;
      caller.abort();
      assert.deepEqual(said(await answered), ['error: unavailable']);
      if (path === LOGIN) {
        // A login serves others too, and may bring a token after the end of the session.
        const stopped = provider.stop();
        await clock.advance(3_000);
        await stopped;
        await clock.advance(90_000);
      }
      await gone;
    });
  }

  it('costs no longer than requestTimeout', async (t) => {
    const { vault, provider, clock } = await startProvider(t);
    const { answer, arrived } = held();
    vault.next(DECRYPT, answer);
    const answered = provider.decrypt(one, patient());
    const { gone } = await arrived;
    await clock.advance(2_000);
    assert.deepEqual(said(await answered), ['error: unavailable']);
    await gone;
  });

  for (const [requestTimeout, who] of [
    [2_000, 'its time is over'],
    [10_000, 'its caller has waited for so long'],
  ] as const) {
    it(`is asked on a new connection once ${who}: the others that are open may be dead too`, async (t) => {
      const { vault, provider, clock } = await startProvider(t, { requestTimeout });
      await Promise.all([provider.decrypt(one, patient()), provider.decrypt(one, patient())]);
      const open = new Set(vault.seen.map(({ connection }) => connection));
      assert.ok(open.size >= 2);
      const { answer, arrived } = held();
      vault.next(DECRYPT, answer);
      const caller = new AbortController();
      const answered = provider.decrypt(one, caller.signal);
      await arrived;
      await clock.advance(2_000);
      caller.abort();
      assert.deepEqual(said(await answered), ['error: unavailable']);
      const before = vault.seen.length;
      await Promise.all([1, 2, 3].map(() => provider.decrypt(one, patient())));
      const used = vault.seen.slice(before).map(({ connection }) => connection);
      assert.deepEqual(
        used.filter((connection) => open.has(connection)),
        [],
      );
    });
  }

  it('at a login is given two seconds where there is another one, so that a call of three is served', async (t) => {
    const [first, second] = [await startFakeVault(t), await startFakeVault(t)];
    const addresses = [first.address, second.address];
    const { provider, clock } = await startProvider(t, { addresses, requestTimeout: 500 });
    const late = Promise.withResolvers<(answer: FakeAnswer) => void>();
    first.next(LOGIN, { kind: 'hold', held: (_gone, answer) => late.resolve(answer) });
    const answered = provider.decrypt(one, patient());
    const answer = await late.promise;
    await clock.advance(1_999);
    assert.deepEqual(second.seen, []);
    await clock.advance(1);
    assert.deepEqual(said(await answered), ['one']);
    assert.equal(second.count(LOGIN), 1);
    // What the first one grants after all is given back.
    answer(granting('hvs.granted-too-late'));
    await waitUntil('the revocation', 5_000, () =>
      [first, second].some(({ seen }) =>
        seen.some(
          ({ path, headers }) =>
            path === REVOKE && headers['x-vault-token'] === 'hvs.granted-too-late',
        ),
      ),
    );
  });

  it('is not asked by a caller that has given up before', async (t) => {
    const { vault, provider } = await startProvider(t);
    await provider.decrypt(one, patient());
    assert.deepEqual(said(await provider.decrypt(one, AbortSignal.abort())), [
      'error: unavailable',
    ]);
    assert.equal(vault.count(DECRYPT), 1);
  });
});
