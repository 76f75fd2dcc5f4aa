import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { linesOf, logged, RELOADED, replaceConfig } from '../daemon/changed-config.ts';
import { startLoad } from '../daemon/load.ts';
import { startPlugin } from '../servers/plugin.ts';
import { startToxiproxy } from '../servers/toxiproxy.ts';
import { startDevVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
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

/** The accessors of all tokens that there are. */
