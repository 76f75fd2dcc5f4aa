import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { linesOf, logged, RELOADED, replaceConfig } from '../daemon/changed-config.ts';
import { startLoad } from '../daemon/load.ts';
import { localProviders } from '../daemon/program.ts';
import { startForwarding } from '../servers/forwarding.ts';
import { startPlugin } from '../servers/plugin.ts';
import { startToxiproxy } from '../servers/toxiproxy.ts';
import { startDevVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  KEY,
  PLAIN,
  prepareTransit,
  secretFile,
  sessions,
  startWithAppRole,
  testFolder,
  vaultConfig,
} from './vault-under-test.ts';

const CALLERS = 64;
/** Longer than what is waited for takes. */
const PATIENT_MS = 15_000;

const folder = testFolder();
after(() => folder.remove());

describe(`a changed configuration of a real Vault, under ${CALLERS} calls at once`, () => {
  it('loses no call where Vault is asked in another way, and ends the session before', async () => {
    const dir = folder.sub('session');
    await using vault = await startDevVault({ release: 'newest', dir });
    const { admin, address } = vault;
    await prepareTransit(admin);
    await using plugin = await startWithAppRole(admin, address, dir);
    await plugin.ready();
    const load = startLoad(plugin.socket, CALLERS);
    await load.more(CALLERS * 4);
    const before = await sessions(admin);
    const token = await admin.createToken({ policies: ['trousseau'], period: '1h' });
    const tokenFile = secretFile(dir, 'token', token);
    replaceConfig(dir, vaultConfig(address, { token: { tokenFile } }));
    await logged(plugin, RELOADED, 1);
    await load.more(CALLERS * 4);
    assert.ok((await load.stop()) > CALLERS * 8);
    assert.equal(load.keyIds.size, 1);
    // The token of the login before is revoked; the one that was given is nobody's to revoke.
    await waitUntil('the end of the session before', PATIENT_MS, async () => {
      const now = await sessions(admin);
      return [...before].filter((accessor) => !now.has(accessor)).length === 1;
    });
    assert.equal((await admin.request('POST', 'auth/token/lookup', { token })).status, 200);
  });

  it('takes calls along that wait for a Vault that is not where it was any more', async () => {
    const dir = folder.sub('moved');
    await using vault = await startDevVault({ release: 'newest', dir });
    await using toxiproxy = await startToxiproxy(dir);
    const way = await toxiproxy.way(vault.port);
    await prepareTransit(vault.admin);
    const token = await vault.admin.createToken({ policies: ['trousseau'], period: '1h' });
    const auth = { token: { tokenFile: secretFile(dir, 'token', token) } };
    const start = { dir, config: vaultConfig(`http://${way.address}`, auth) };
    await using plugin = await startPlugin(start);
    await plugin.ready();
    const sealed = await plugin.client.v2.encrypt(PLAIN, 'before');
    await way.disable();
    const client = createKmsClient(plugin.socket, PATIENT_MS);
    try {
      const calls = Array.from({ length: CALLERS }, (_, i) =>
        client.v2.decrypt({ ...sealed, uid: `waits-${i}` }),
      );
      await waitUntil('the outage', PATIENT_MS, async () => {
        return (await plugin.client.v2.status()).healthz !== 'ok';
      });
      replaceConfig(dir, vaultConfig(vault.address, auth));
      for (const { plaintext } of await Promise.all(calls))
        assert.deepEqual(Buffer.from(plaintext), PLAIN);
      assert.equal(linesOf(plugin, RELOADED).length, 1);
    } finally {
      client.close();
    }
  });
});

it('what was decrypted before an outage is still answered after a local keyring was added in it', async () => {
  const dir = folder.sub('local');
  await using vault = await startDevVault({ release: 'newest', dir: folder.sub('local-vault') });
  await prepareTransit(vault.admin);
  const token = await vault.admin.createToken({ policies: ['trousseau'] });
  const auth = { token: { tokenFile: secretFile(dir, 'token', token) } };
  const first = { name: 'vault', vault: { addresses: [vault.address], key: KEY, auth } };
  const config = { health: { watchInterval: '1s' }, decryptCache: {} };
  await using plugin = await startPlugin({ dir, config: { ...config, providers: [first] } });
  await plugin.ready();
  const sealed = await plugin.client.v2.encrypt(PLAIN, 'before');
  await vault.stop();
  await waitUntil('the outage', PATIENT_MS, async () => {
    return (await plugin.client.v2.status()).healthz !== 'ok';
  });
  const providers = [first, ...(await localProviders(dir))];
  replaceConfig(dir, { ...config, providers, write: ['here'] });
  await logged(plugin, RELOADED, 1);
  assert.match((await plugin.client.v2.status()).key_id, /^local:v1:/);
  const { plaintext } = await plugin.client.v2.decrypt({ ...sealed, uid: 'after' });
  assert.deepEqual(Buffer.from(plaintext), PLAIN);
});

it('a key that is rotated during the trial of a configuration is never announced under its earlier key_id', async () => {
  const dir = folder.sub('rotated');
  await using vault = await startDevVault({ release: 'newest', dir });
  const { admin } = vault;
  for (const mount of ['transit', 'other']) await prepareTransit(admin, mount);
  const tokenFile = secretFile(dir, 'token', await admin.createToken({ policies: ['root'] }));
  const asked = Promise.withResolvers<void>();
  let slow = true;
  // A provider that only decrypts and does not answer: the trial waits for it.
  await using way = await startForwarding(vault.address, {
    async answered(url) {
      if (!url.endsWith(`/other/keys/${KEY}`) || !slow) return;
      asked.resolve();
      await new Promise<void>(() => undefined);
    },
  });
  const provider = (name: string, address: string, mount: string) => ({
    ...{ name, vault: { addresses: [address], mount, key: KEY, auth: { token: { tokenFile } } } },
  });
  const config = { write: ['one'], providers: [provider('one', vault.address, 'transit')] };
  await using plugin = await startPlugin({ dir, config });
  await plugin.ready();
  const announced: string[] = [];
  const status = async (): Promise<string> => {
    const { key_id } = await plugin.client.v2.status();
    if (announced.at(-1) !== key_id) announced.push(key_id);
    return key_id;
  };
  await status();
  replaceConfig(dir, {
    ...config,
    providers: [...config.providers, provider('two', way.address, 'other')],
  });
  await asked.promise;
  await admin.rotateKey(KEY);
  // As another node has it encrypted, whose ciphertext tells this one of the version.
  const plaintext = PLAIN.toString('base64');
  const { data } = await admin.write(`transit/encrypt/${KEY}`, { plaintext });
  await plugin.client.v1.decrypt(Buffer.from(String(data?.['ciphertext'])));
  await waitUntil('the second version', PATIENT_MS, async () =>
    (await status()).startsWith('vault:v2:'),
  );
  slow = false;
  await logged(plugin, RELOADED, 1);
  await status();
  assert.deepEqual(
    announced.map((keyId) => keyId.slice(0, 'vault:v1'.length)),
    ['vault:v1', 'vault:v2'],
  );
});
