import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { freePort } from '../servers/free-port.ts';
import { startAgain, startPlugin } from '../servers/plugin.ts';
import { startServer } from '../servers/process.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import {
  linesOf,
  logged,
  NOTICE_MS,
  REFUSED,
  RELOADED,
  reloadOf,
  replaceConfig,
  socketsIn,
  twoKeyrings,
} from './changed-config.ts';
import { startFakeVault } from './fake-vault.ts';
import { startLoad } from './load.ts';
import { localProviders, PROGRAM, vaultProviders, writeConfig } from './program.ts';

const CALLERS = 64;
const SEED = Buffer.alloc(32, 0x5e);

describe('a changed configuration', () => {
  it('changes the level of the log, without a new login', async (t) => {
    const dir = temporaryFolder(t);
    await using vault = await startFakeVault();
    const providers = vaultProviders(dir, 'hvs.x', [vault.address]);
    await using plugin = await startPlugin({ dir, config: { providers } });
    await plugin.ready();
    await plugin.client.v2.encrypt(SEED, 'seen');
    const logins = () => vault.asked.filter(({ path }) => path.endsWith('lookup-self')).length;
    const before = logins();
    replaceConfig(dir, { providers, log: { level: 'info', format: 'json' } });
    await logged(plugin, RELOADED, 1);
    await plugin.client.v2.encrypt(SEED, 'unseen');
    replaceConfig(dir, { providers });
    await logged(plugin, RELOADED, 2);
    await plugin.client.v2.encrypt(SEED, 'seen again');
    const uids = linesOf(plugin, 'kms call').flatMap(({ uid }) => (uid === undefined ? [] : [uid]));
    assert.deepEqual(uids, ['seen', 'seen again']);
    assert.equal(logins(), before);
  });

  it('holds at once after SIGHUP too where the provider is away and it is about log and health alone', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await localProviders(dir);
    await using plugin = await startPlugin({ dir, config: { providers } });
    await plugin.ready();
    renameSync(join(dir, 'keyring.json'), join(dir, 'away'));
    const calls = (): number => linesOf(plugin, 'kms call').length;
    const log = { level: 'error', format: 'json' };
    // The signal must come before the file has been left unchanged for long enough to be read for its own sake.
    plugin.process.pause();
    replaceConfig(dir, { providers, log });
    process.kill(plugin.process.pid, 'SIGHUP');
    plugin.process.resume();
    await logged(plugin, REFUSED, 1);
    const [refused] = linesOf(plugin, REFUSED);
    assert.match(
      String(refused?.['why']),
      /what has changed in log and health holds all the same$/,
    );
    const before = calls();
    await plugin.client.v2.status().catch(() => undefined);
    assert.equal(calls(), before);
  });

  it('is taken with a warning where it acknowledges the loss of the key that is in use', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await twoKeyrings(dir);
    await using plugin = await startPlugin({ dir, config: { providers, write: ['a'] } });
    await plugin.ready();
    const { key_id } = await plugin.client.v2.status();
    const health = { acknowledgedLosses: [key_id] };
    // Without a trial; with one that brings another key; with one that brings this key back.
    for (const [i, write] of ['a', 'b', 'a'].entries()) {
      replaceConfig(dir, { providers, write: [write], health });
      await logged(plugin, RELOADED, i + 1);
      const why = String((await reloadOf(dir))['why']);
      assert.equal(why.includes(`acknowledgedLosses has ${key_id}`), write === 'a', why);
    }
  });

  it('is tried again at SIGHUP though the file is what it was, and replaces the login', async (t) => {
    const dir = temporaryFolder(t);
    await using vault = await startFakeVault();
    const providers = vaultProviders(dir, 'hvs.old', [vault.address]);
    await using plugin = await startPlugin({ dir, config: { providers } });
    await plugin.ready();
    writeFileSync(join(dir, 'token'), 'hvs.new');
    process.kill(plugin.process.pid, 'SIGHUP');
    await logged(plugin, RELOADED, 1);
    await plugin.client.v2.encrypt(SEED, 'after');
    assert.equal(vault.asked.at(-1)?.token, 'hvs.new');
  });

  it('says which fields need a restart, and takes the rest', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await twoKeyrings(dir);
    await using plugin = await startPlugin({ dir, config: { providers, write: ['a'] } });
    await plugin.ready();
    const { key_id: before } = await plugin.client.v2.status();
    const listen = { socket: join(dir, 'other.sock'), apis: ['v2'] };
    replaceConfig(dir, { providers, write: ['b'], listen, admin: {} });
    await logged(plugin, RELOADED, 1);
    const { ok, why } = await reloadOf(dir);
    assert.equal(ok, true);
    assert.match(String(why), /^listen\.socket, listen\.apis, admin\.socket changed: restart/);
    assert.notEqual((await plugin.client.v2.status()).key_id, before);
    await plugin.client.v1.encrypt(SEED);
  });

  it('is noticed where the kubelet swaps ..data', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await twoKeyrings(dir);
    for (const [version, name] of [
      ['..1', 'a'],
      ['..2', 'b'],
    ] as const) {
      mkdirSync(join(dir, version));
      writeConfig(join(dir, version), { ...socketsIn(dir), providers, write: [name] });
    }
    symlinkSync('..1', join(dir, '..data'));
    symlinkSync('..data/config.yaml', join(dir, 'config.yaml'));
    await using plugin = await startAgain(dir);
    await plugin.ready();
    const { key_id: before } = await plugin.client.v2.status();
    symlinkSync('..2', join(dir, '..data_tmp'));
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
    await logged(plugin, RELOADED, 1);
    assert.notEqual((await plugin.client.v2.status()).key_id, before);
  });

  it('is not noticed in a directory that was replaced, which is said once; SIGHUP helps', async (t) => {
    const [dir, etc] = [temporaryFolder(t), join(temporaryFolder(t), 'etc')];
    const providers = await twoKeyrings(dir);
    mkdirSync(etc);
    const file = writeConfig(etc, { ...socketsIn(dir), providers, write: ['a'] });
    const client = createKmsClient(join(dir, 'kms.sock'));
    t.after(() => client.close());
    const args = ['serve', '--config', file];
    const command = { program: PROGRAM, args, logFile: join(dir, 'plugin.log') };
    await using running = await startServer(command, NOTICE_MS, async () => {
      return (await client.v2.status()).healthz === 'ok';
    });
    const { key_id: before } = await client.v2.status();
    const lost = (): number =>
      readFileSync(running.logFile, 'utf8').split('are not noticed any more').length - 1;
    renameSync(etc, `${etc}.old`);
    mkdirSync(etc);
    writeConfig(etc, { ...socketsIn(dir), providers, write: ['b'] });
    await waitUntil('the warning', NOTICE_MS, () => lost() > 0);
    process.kill(running.pid, 'SIGHUP');
    await waitUntil('the other key', NOTICE_MS, async () => {
      return (await client.v2.status()).key_id !== before;
    });
    assert.equal(lost(), 1);
  });

  it('that works takes the place of one that never did, with the calls that wait for it', async (t) => {
    const dir = temporaryFolder(t);
    const nowhere = vaultProviders(dir, 'hvs.x', [`http://127.0.0.1:${await freePort()}`]);
    await using plugin = await startPlugin({ dir, config: { providers: nowhere } });
    await waitUntil('the outage', NOTICE_MS, () => {
      return linesOf(plugin, 'provider not reached yet').length > 0;
    });
    await using vault = await startFakeVault();
    replaceConfig(dir, { providers: vaultProviders(dir, 'hvs.x', [vault.address]) });
    const load = startLoad(plugin.socket, CALLERS);
    await load.more(CALLERS * 4);
    await load.stop();
    assert.equal(linesOf(plugin, RELOADED).length, 1);
  });

  it('that is given up at a stop does not keep the process', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await localProviders(dir);
    await using plugin = await startPlugin({ dir, config: { providers } });
    await plugin.ready();
    const nowhere = vaultProviders(dir, 'hvs.x', [`http://127.0.0.1:${await freePort()}`]);
    replaceConfig(dir, { providers: nowhere });
    await waitUntil('the trial', NOTICE_MS, () => {
      return linesOf(plugin, 'provider not reached yet').length > 0;
    });
    process.kill(plugin.process.pid, 'SIGTERM');
    assert.equal(await plugin.process.exited, 'code 0');
    assert.deepEqual(linesOf(plugin, REFUSED), []);
  });
});
