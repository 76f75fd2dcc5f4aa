import assert from 'node:assert/strict';
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  linesOf,
  logged,
  REFUSED,
  RELOADED,
  replaceConfig,
  twoKeyrings,
} from '../daemon/changed-config.ts';
import { startFakeVault } from '../daemon/fake-vault.ts';
import { vaultProviders } from '../daemon/program.ts';
import { mountDeadFileSystem } from '../servers/dead-file-system.ts';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';

const SEED = Buffer.alloc(32, 0x5e);
/** Calls under way have 4 s, and what hangs has half a second more. */
const END_MS = 8_000;

/** SIGTERM, and no other signal of the test. */
async function endsBySigterm({ process: running, log }: Plugin): Promise<void> {
  process.kill(running.pid, 'SIGTERM');
  await waitUntil('the end', END_MS, async () => !running.isRunning());
  assert.ok(log().some(({ msg }) => msg === 'stopped'));
}

async function serves({ client }: Plugin): Promise<void> {
  const encrypted = await client.v2.encrypt(SEED, 'uid');
  const { plaintext } = await client.v2.decrypt({ ...encrypted, uid: 'uid' });
  assert.deepEqual(Buffer.from(plaintext), SEED);
}

describe('a file system that does not answer', { timeout: 120_000 }, () => {
  it('below a sealing key that a reload names: refused, the next reload works, SIGTERM ends it', async (t) => {
    const dir = temporaryFolder(t);
    const [sealed, open] = await twoKeyrings(dir);
    await using dead = await mountDeadFileSystem(dir);
    await using plugin = await startPlugin({ dir, config: { providers: [open] } });
    await plugin.ready();
    const onDead = { name: 'a', local: { ...sealed.local, sealKeyFile: join(dead.path, 'key') } };
    replaceConfig(dir, { providers: [onDead] });
    // The trial of a configuration has 30 s.
    await waitUntil('the refusal', 45_000, () => linesOf(plugin, REFUSED).length > 0);
    assert.match(String(linesOf(plugin, REFUSED)[0]?.['why']), /key: reading it takes longer/);
    await serves(plugin);
    replaceConfig(dir, { providers: [sealed, open] });
    await logged(plugin, RELOADED, 1);
    await serves(plugin);
    await endsBySigterm(plugin);
  });

  it('below the keyring of a running plugin: decrypts on from memory, and SIGTERM ends it', async (t) => {
    const dir = temporaryFolder(t);
    const [, { local }] = await twoKeyrings(dir);
    await using dead = await mountDeadFileSystem(dir);
    // The folder is a link, as the keyring itself must not be one.
    symlinkSync(dir, join(dir, 'place'));
    const keyringFile = local.keyringFile.replace(dir, join(dir, 'place'));
    const config = {
      health: { watchInterval: '1s' },
      providers: [{ name: 'b', local: { keyringFile } }],
    };
    await using plugin = await startPlugin({ dir, config });
    await plugin.ready();
    const encrypted = await plugin.client.v2.encrypt(SEED, 'uid');
    symlinkSync(dead.path, join(dir, 'next'));
    renameSync(join(dir, 'next'), join(dir, 'place'));
    await waitUntil('the outage', 20_000, async () => {
      return (await plugin.client.v2.status()).healthz.includes('reading it takes longer');
    });
    const { plaintext } = await plugin.client.v2.decrypt({ ...encrypted, uid: 'uid' });
    assert.deepEqual(Buffer.from(plaintext), SEED);
    await endsBySigterm(plugin);
  });

  it('below a keyring that reloads name again and again: refused, and all else goes on', async (t) => {
    const dir = temporaryFolder(t);
    const [, open] = await twoKeyrings(dir);
    await using dead = await mountDeadFileSystem(dir);
    await using plugin = await startPlugin({ dir, config: { providers: [open] } });
    await plugin.ready();
    const onDead = { name: 'c', local: { keyringFile: join(dead.path, 'keyring.json') } };
    replaceConfig(dir, { providers: [open, onDead] });
    for (let reload = 1; reload <= 3; reload += 1) {
      await waitUntil('the reload', 45_000, () => {
        return [...linesOf(plugin, REFUSED), ...linesOf(plugin, RELOADED)].length >= reload;
      });
      await serves(plugin);
      process.kill(plugin.process.pid, 'SIGHUP');
    }
    await endsBySigterm(plugin);
  });

  it('below the token of a Vault: the token in use serves on, SIGHUP is refused, SIGTERM ends it', async (t) => {
    const dir = temporaryFolder(t);
    await using dead = await mountDeadFileSystem(dir);
    await using vault = await startFakeVault();
    const providers = vaultProviders(dir, 'hvs.x', [vault.address]);
    await using plugin = await startPlugin({ dir, config: { providers } });
    await plugin.ready();
    const tokenFile = join(dir, 'token');
    rmSync(tokenFile);
    symlinkSync(join(dead.path, 'token'), tokenFile);
    process.kill(plugin.process.pid, 'SIGHUP');
    // The file may answer yet, so that a trial waits for it as it waits for Vault: for 30 s.
    await waitUntil('the refusal', 45_000, () => linesOf(plugin, REFUSED).length > 0);
    assert.match(String(linesOf(plugin, REFUSED)[0]?.['why']), /token: reading it takes longer/);
    await serves(plugin);
    rmSync(tokenFile);
    writeFileSync(tokenFile, 'hvs.y');
    await endsBySigterm(plugin);
  });
});
