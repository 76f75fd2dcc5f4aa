import assert from 'node:assert/strict';
import { existsSync, lstatSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { SAMPLE_UID } from '../../src/kms/v2.ts';
import { freePort } from '../servers/free-port.ts';
import { startAgain, startPlugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { startFakeVault } from './fake-vault.ts';
import { askAdmin, localProviders, trousseau, vaultProviders, writeConfig } from './program.ts';

const UNAVAILABLE = 14;
const SEED = Buffer.alloc(32, 0x5e);
const READY_MS = 20_000;

describe('a daemon whose provider cannot be reached', () => {
  for (const [how, adminOf] of [
    ['a unix socket', async (dir: string) => ({ socket: join(dir, 'admin.sock') })],
    ['a loopback address', async () => ({ address: `127.0.0.1:${await freePort()}` })],
  ] as const) {
    it(`answers at once and says why, with the admin endpoint on ${how}, and recovers by itself`, async (t) => {
      const dir = temporaryFolder(t);
      const port = await freePort();
      const address = `http://127.0.0.1:${port}`;
      const providers = vaultProviders(dir, 'hvs.x', [address]);
      const admin: { socket?: string; address?: string } = await adminOf(dir);
      const place = admin.socket ?? admin.address ?? '';
      await using plugin = await startPlugin({ dir, config: { providers, admin } });
      assert.ok(lstatSync(plugin.socket).isSocket());
      await waitUntil('the reason', READY_MS, async () =>
        plugin.client.v2.status().then(
          () => assert.fail('Status was good'),
          ({ code, details }: { code: number; details: string }) => {
            assert.equal(code, UNAVAILABLE);
            return details.includes(address);
          },
        ),
      );
      assert.deepEqual(await askAdmin(place, '/livez'), { status: 200, body: { status: 'ok' } });
      const { status, body } = await askAdmin(place, '/readyz');
      assert.equal(status, 503);
      assert.deepEqual([body['status'], body['state']], ['not ready', 'starting']);
      assert.match(String(body['why']), new RegExp(`cannot reach ${address}`));
      if (admin.socket !== undefined) assert.equal(lstatSync(place).mode & 0o777, 0o600);

      await using _vault = await startFakeVault({ port });
      await plugin.ready(READY_MS);
      const ready = await askAdmin(place, '/readyz?verbose');
      assert.deepEqual([ready.status, ready.body['status']], [200, 'ok']);
      assert.equal(ready.body['keyVersion'], 1);
    });
  }

  it('tells where the decrypt cache is on what it has for an outage, and nothing of it elsewhere', async (t) => {
    const seed = Buffer.alloc(32, 7);
    for (const [more, said] of [
      [{ decryptCache: {} }, { entries: 1, seeds: true }],
      [{}, undefined],
    ] as const) {
      const dir = temporaryFolder(t);
      const providers = await localProviders(dir);
      await using plugin = await startPlugin({ dir, config: { providers, ...more } });
      await plugin.ready();
      await plugin.client.v2.encrypt(seed, `${SAMPLE_UID}1`);
      await plugin.client.v2.encrypt(seed, 'uid');
      const { body } = await askAdmin(join(dir, 'admin.sock'), '/readyz');
      assert.deepEqual(body['decryptCache'], said);
    }
  });

  it('answers GET and HEAD alone, and nothing at other paths', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await localProviders(dir);
    await using _plugin = await startPlugin({ dir, config: { providers } });
    const place = join(dir, 'admin.sock');
    assert.equal((await askAdmin(place, '/livez', 'POST')).status, 405);
    assert.equal((await askAdmin(place, '/')).status, 404);
    assert.equal((await askAdmin(place, '/livez/../readyz')).status, 404);
  });
});

describe('a second daemon', () => {
  it('on the same socket refuses with code 1, and leaves the first one alone', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await localProviders(dir);
    await using plugin = await startPlugin({ dir, config: { providers } });
    await plugin.ready();
    const before = [plugin.socket, join(dir, 'admin.sock')].map((path) => lstatSync(path).ino);
    const { code, err } = await trousseau('serve', '--config', join(dir, 'config.yaml'));
    assert.equal(code, 1);
    assert.match(err, new RegExp(`another process listens on ${plugin.socket}: stop it first`));
    assert.deepEqual(
      [plugin.socket, join(dir, 'admin.sock')].map((path) => lstatSync(path).ino),
      before,
    );
    assert.equal((await plugin.client.v2.status()).healthz, 'ok');
  });

  it('on the same admin socket refuses too, and takes its own socket away', async (t) => {
    const [dir, other] = [temporaryFolder(t), temporaryFolder(t)];
    const providers = await localProviders(dir);
    await using plugin = await startPlugin({ dir, config: { providers } });
    await plugin.ready();
    const admin = { socket: join(dir, 'admin.sock') };
    const file = writeConfig(other, { providers, admin });
    const { code, err } = await trousseau('serve', '--config', file);
    assert.equal(code, 1);
    assert.match(err, /another process listens on .*admin\.sock: stop it first/);
    assert.equal(existsSync(join(other, 'kms.sock')), false);
    assert.equal((await askAdmin(admin.socket, '/readyz')).status, 200);
  });

  for (const [what, portOf, said] of [
    ['a port in use', (used: number) => used, /cannot listen on admin\.address .*: EADDRINUSE/],
    ['a port that there is not', () => 99_999, /no port is above 65535/],
  ] as const) {
    it(`with ${what} for its admin endpoint refuses with a sentence`, async (t) => {
      await using vault = await startFakeVault();
      const dir = temporaryFolder(t);
      const providers = vaultProviders(dir, 'hvs.x', [vault.address]);
      const file = writeConfig(dir, {
        providers,
        admin: { address: `127.0.0.1:${portOf(vault.port)}` },
      });
      const { code, err } = await trousseau('serve', '--config', file);
      assert.notEqual(code, 0);
      assert.match(err, said);
      assert.doesNotMatch(err, / {4}at /);
      assert.equal(existsSync(join(dir, 'kms.sock')), false);
    });
  }
});

describe('a daemon after one that was killed', () => {
  it('takes the place of the sockets that were left behind', async (t) => {
    const dir = temporaryFolder(t);
    const killed = await startPlugin({ dir, config: { providers: await localProviders(dir) } });
    await killed.ready();
    const sealed = await killed.client.v2.encrypt(SEED, 'before');
    await killed.process.kill();
    await killed.stop();
    assert.ok(lstatSync(killed.socket).isSocket());
    await using plugin = await startAgain(dir);
    await plugin.ready();
    const { plaintext } = await plugin.client.v2.decrypt({ ...sealed, uid: 'after' });
    assert.deepEqual(Buffer.from(plaintext), SEED);
  });

  it('never takes the place of a file', async (t) => {
    const dir = temporaryFolder(t);
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    writeFileSync(join(dir, 'kms.sock'), 'precious');
    const { code, err } = await trousseau('serve', '--config', file);
    assert.equal(code, 1);
    assert.match(err, /kms\.sock exists and is not a socket: remove it, or name another path/);
  });
});
