import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startForwarding } from '../servers/forwarding.ts';
import { startSlowAnswers } from '../servers/slow-answers.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import { startVaultAgent } from '../servers/vault-agent.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { providerOn } from './provider-on.ts';
import { POLICY, prepareTransit, RELEASES, testFolder } from './vault-under-test.ts';

const LOGIN = 'auth/approle/login';
/** Longer than `requestTimeout`, which is 1 s here. */
const SLOW_MS = 1_500;
/** Longer than a login may take at a server where there is another one. */
const FAILOVER_MS = 5_500;
const TOKENS = { token_policies: [POLICY], token_ttl: '1h' };

const folder = testFolder();
after(() => folder.remove());
const caller = (ms = 10_000): AbortSignal => AbortSignal.timeout(ms);

for (const release of RELEASES) {
  describe(`the tokens that the ${release} Vault has granted`, { timeout: 120_000 }, () => {
    let vault: DevVault;
    let atFirst = 0;
    let role: { readonly roleId: string; readonly secretId: string };

    /** Tokens that live in Vault beside those of the test itself. */
    const live = async (): Promise<number> => {
      const { data } = await vault.admin.read('auth/token/accessors?list=true');
      return ((data?.['keys'] ?? []) as readonly string[]).length - atFirst;
    };
    const liveBecomes = (count: number): Promise<void> =>
      waitUntil(`${count} tokens`, 10_000, async () => (await live()) === count);
    const approle = (secretIDWrapped = false) => ({
      appRole: {
        mount: 'approle',
        roleID: role.roleId,
        secretIDFile: '/etc/secret-id',
        secretIDWrapped,
      },
    });

    before(async () => {
      vault = await startDevVault({ release, dir: folder.sub(`tokens-${release}`) });
      await prepareTransit(vault.admin);
      await vault.admin.enableAuth('approle');
      role = await vault.admin.createAppRole('trousseau', TOKENS);
      atFirst = (await live()) + atFirst;
    });
    after(() => vault.stop());

    it('are one, while a login takes longer than a request may, and none after the stop', async () => {
      await using slow = await startSlowAnswers(vault.address, (path) =>
        path === LOGIN ? SLOW_MS : 0,
      );
      const provider = providerOn([slow.address], approle(), () => role.secretId);
      assert.ok((await provider.describe(caller())).ok);
      assert.equal(await live(), 1);
      await provider.stop();
      assert.equal(await live(), 0);
    });

    it('are used by the next call, where the callers of the login had no time for it', async () => {
      await using slow = await startSlowAnswers(vault.address, (path) =>
        path === LOGIN ? SLOW_MS : 0,
      );
      const provider = providerOn([slow.address], approle(), () => role.secretId);
      assert.equal((await provider.describe(caller(300))).ok, false);
      assert.ok((await provider.describe(caller())).ok);
      assert.equal(slow.answered(LOGIN), 1);
      assert.equal(await live(), 1);
      await provider.stop();
      assert.equal(await live(), 0);
    });

    it('are two, however often they are used, where the role binds them to another address', async () => {
      const bound = { ...TOKENS, token_bound_cidrs: ['192.0.2.11/32'] };
      const { roleId, secretId } = await vault.admin.createAppRole('bound', bound);
      const { appRole } = approle();
      const auth = { appRole: { ...appRole, roleID: roleId } };
      const provider = providerOn([vault.address], auth, () => secretId);
      for (let i = 0; i < 20; i += 1) {
        const described = await provider.describe(caller());
        assert.match(
          described.ok ? '' : described.error.message,
          /token_bound_cidrs.*the next try is at .*at once after SIGHUP/,
        );
      }
      await provider.stop();
      assert.equal(await live(), 2);
      await vault.admin.write('sys/leases/revoke-prefix/auth/approle/login');
      await liveBecomes(0);
    });

    it('are none after a stop during a login, as by SIGTERM or by an overtaken reload', async () => {
      await using slow = await startSlowAnswers(vault.address, (path) =>
        path === LOGIN ? SLOW_MS : 0,
      );
      const provider = providerOn([slow.address], approle(), () => role.secretId);
      const described = provider.describe(caller());
      await waitUntil('the login', 5_000, () => slow.answered(LOGIN) === 1);
      assert.equal(await live(), 1);
      await provider.stop();
      assert.equal((await described).ok, false);
      assert.equal(await live(), 0);
    });

    it('are one, where a first server was too slow and another one was asked', async () => {
      await using slow = await startSlowAnswers(vault.address, (path) =>
        path === LOGIN ? FAILOVER_MS : 0,
      );
      const addresses = [slow.address, vault.address];
      const provider = providerOn(addresses, approle(), () => role.secretId);
      assert.ok((await provider.describe(caller())).ok);
      assert.equal(slow.answered(LOGIN), 1);
      await liveBecomes(1);
      await provider.stop();
      assert.equal(await live(), 0);
    });

    for (const [from, answer] of [
      ['a proxy', { status: 504, body: { message: 'upstream timeout' } }],
      ['a Vault that cannot write its audit log', { status: 500, body: { errors: [] } }],
    ] as const) {
      it(`are one for each wait, where the answer to a login is an error of ${from}, and one when it is over`, async () => {
        let isLost = true;
        await using lossy = await startForwarding(vault.address, {
          instead: (url) => (isLost && url === `/v1/${LOGIN}` ? answer : undefined),
        });
        const before = await live();
        const provider = providerOn([lossy.address], approle(), () => role.secretId);
        const described = await Promise.all(
          Array.from({ length: 50 }, () => provider.describe(caller())),
        );
        for (const { ok } of described) assert.equal(ok, false);
        // Each comes after the end of the one before, and none waits.
        for (let i = 0; i < 20; i += 1) assert.equal((await provider.describe(caller())).ok, false);
        assert.ok((await live()) - before <= 4, `${(await live()) - before} tokens`);
        isLost = false;
        await waitUntil(
          'the next login',
          5_000,
          async () => (await provider.describe(caller())).ok,
        );
        const left = (await live()) - before;
        await provider.stop();
        assert.equal((await live()) - before, left - 1);
        await vault.admin.write('sys/leases/revoke-prefix/auth/approle/login');
        await liveBecomes(before);
      });
    }

    it('are one, where a wrapped secret id was unwrapped slowly, and the file is gone later', async () => {
      const { body } = await vault.admin.request(
        'POST',
        'auth/approle/role/trousseau/secret-id',
        {},
        { 'x-vault-wrap-ttl': '60s' },
      );
      let file = (body as { wrap_info: { token: string } }).wrap_info.token;
      await using slow = await startSlowAnswers(vault.address, (path) =>
        path === 'sys/wrapping/unwrap' ? SLOW_MS : 0,
      );
      const provider = providerOn([slow.address], approle(true), () => file);
      assert.equal((await provider.describe(caller(300))).ok, false);
      assert.ok((await provider.describe(caller())).ok);
      file = '';
      await vault.admin.write('sys/leases/revoke-prefix/auth/approle/login');
      assert.ok((await provider.describe(caller())).ok);
      await provider.stop();
      assert.equal(await live(), 0);
    });

    const changes = [
      ['has other policies', { token_policies: [POLICY, 'another'] }],
      ['is gone', undefined],
    ] as const;
    for (const [what, change] of changes) {
      it(`are none after the stop, where the user ${what}: Vault does not renew, and a login is tried at once`, async () => {
        const mount = `userpass-${what.length}`;
        const user = `auth/${mount}/users/u`;
        await vault.admin.enableAuth('userpass', mount);
        await vault.admin.write(user, {
          password: 'right',
          token_policies: [POLICY],
          token_ttl: '6s',
        });
        await using tap = await startSlowAnswers(vault.address, () => 0);
        const auth = { userpass: { mount, username: 'u', passwordFile: '/etc/password' } };
        const provider = providerOn([tap.address], auth, () => 'right');
        assert.ok((await provider.describe(caller())).ok);
        if (change === undefined) await vault.admin.delete(user);
        else await vault.admin.write(user, change);
        // Nobody calls meanwhile, so that it can only come from the renewal.
        const login = `auth/${mount}/login/u`;
        await waitUntil('another login', 10_000, () => tap.answered(login) >= 2);
        assert.equal(tap.answered('auth/token/renew-self'), 1);
        await provider.stop();
        assert.equal(await live(), 0);
      });
    }

    for (const kind of release === 'newest'
      ? (['agent', 'proxy'] as const)
      : (['agent'] as const)) {
      it(`are one through the cache of a Vault ${kind}, which must not bring a revoked one back`, async () => {
        const dir = folder.sub(`${kind}-${release}`);
        await using cache = await startVaultAgent({ release, kind, dir, vault: vault.address });
        const provider = providerOn([cache.address], approle(), () => role.secretId);
        assert.ok((await provider.describe(caller())).ok);
        await vault.admin.write('sys/leases/revoke-prefix/auth/approle/login');
        const described = await provider.describe(caller());
        assert.ok(described.ok, described.ok ? '' : described.error.message);
        assert.equal(await live(), 1);
        await provider.stop();
        assert.equal(await live(), 0);
      });
    }

    it('are none for a dedicated token that was revoked, and few logins try it', async () => {
      await vault.admin.writePolicy('kv', 'path "secret/data/t" { capabilities = ["read"] }');
      const { roleId, secretId } = await vault.admin.createAppRole('kv', {
        token_policies: ['kv'],
      });
      const token = await vault.admin.createToken({ policies: [POLICY] });
      await vault.admin.write('secret/data/t', { data: { token } });
      await vault.admin.revokeToken(token);
      await using tap = await startSlowAnswers(vault.address, () => 0);
      const auth = {
        appRole: { ...approle().appRole, roleID: roleId },
        dedicatedToken: { mount: 'secret', path: 't', field: 'token', kvVersion: 2 } as const,
      };
      const provider = providerOn([tap.address], auth, () => secretId);
      const end = Date.now() + 2_000;
      while (Date.now() < end) {
        const described = await provider.describe(caller());
        assert.match(described.ok ? '' : described.error.message, /field token of secret\/data\/t/);
        await sleep(20);
      }
      assert.ok(tap.answered(LOGIN) <= 3, `${tap.answered(LOGIN)} logins`);
      await provider.stop();
      await liveBecomes(0);
    });
  });
}
