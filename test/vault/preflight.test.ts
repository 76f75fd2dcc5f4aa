/** What is proved of a successor with a real Vault, and that nothing of the proof is left there. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { PROGRAM, trousseau } from '../daemon/program.ts';
import { auditLog } from '../servers/audit-log.ts';
import { startProcess } from '../servers/process.ts';
import { startSlowAnswers } from '../servers/slow-answers.ts';
import { startSealableVault, type Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  KEY,
  prepareTransit,
  RELEASES,
  sessions,
  startWithAppRole,
  testFolder,
} from './vault-under-test.ts';

const WAIT_MS = 20_000;
/** Longer than one request may take, so that the proof still waits for the key when it is ended. */
const HELD_MS = 3_000;
const folder = testFolder();
after(() => folder.remove());

type Case = {
  readonly spoil: (vault: Vault, dir: string) => Promise<unknown> | unknown;
  readonly repair: (vault: Vault, dir: string) => Promise<unknown> | unknown;
  readonly says: RegExp;
};

/** In an order in which each leaves Vault as it was, the last one excepted. */
const CASES: Readonly<Record<string, Case>> = {
  'the secret id is wrong': {
    spoil: (_vault, dir) => writeFileSync(join(dir, 'secret-id'), 'wrong'),
    repair: async ({ admin }, dir) => {
      const { data } = await admin.write('auth/approle/role/trousseau/secret-id');
      writeFileSync(join(dir, 'secret-id'), String((data as { secret_id: string }).secret_id));
    },
    says: /NOT PROVED: keys: .*secret id/,
  },
  'Vault is sealed': {
    spoil: (vault) => vault.seal(),
    repair: (vault) => vault.unseal(),
    says: /NOT PROVED: keys: .*sealed/i,
  },
  'Vault is away': {
    spoil: (vault) => vault.stop('kill'),
    repair: (vault) => vault.restart(),
    says: /NOT PROVED: keys: .*(ECONNREFUSED|not been reached)/,
  },
  'the key may not be used any more': {
    spoil: ({ admin }) =>
      admin.writePolicy('trousseau', `path "transit/keys/${KEY}" { capabilities = ["read"] }`),
    repair: ({ admin }) =>
      admin.writePolicy(
        'trousseau',
        `path "transit/+/${KEY}" { capabilities = ["read", "update"] }`,
      ),
    says: /NOT PROVED: keys: .*403/,
  },
  'the key was deleted and made again': {
    spoil: async ({ admin }) => {
      await admin.deleteKey(KEY);
      await admin.createKey(KEY);
    },
    repair: () => undefined,
    says: /NOT PROVED: running process: it has vault:v1:/,
  },
};

for (const release of RELEASES) {
  describe(`a successor is proved with a real Vault, the ${release}`, () => {
    it('takes over where all is well, and not where something is wrong; no token is left', async () => {
      const dir = folder.sub(release);
      await using vault = await startSealableVault({ release, dir });
      await prepareTransit(vault.admin);
      await using plugin = await startWithAppRole(vault.admin, vault.address, dir);
      await plugin.ready();
      const prove = () =>
        trousseau('preflight', '--time-limit', '4s', '--config', join(dir, 'config.yaml'));
      const audit = await auditLog(vault.admin, dir);
      const before = await sessions(vault.admin);
      const well = await prove();
      assert.equal(well.code, 0, well.err);
      assert.match(well.out, /proved: sample: encrypted and decrypted under vault:v1:/);
      assert.deepEqual(await sessions(vault.admin), before);
      assert.equal(audit.count('auth/approle/login'), 1);
      for (const [title, { spoil, repair, says }] of Object.entries(CASES)) {
        await spoil(vault, dir);
        const ended = await prove();
        assert.equal(ended.code, 1, `${title}: ${ended.out}`);
        assert.match(ended.err, says, title);
        await repair(vault, dir);
        const left = [...(await sessions(vault.admin))].filter((token) => !before.has(token));
        assert.ok(left.length <= 1, `${title}: at most the plugin itself has logged in again`);
      }
    });
  });
}

describe('a proof that is ended', () => {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    it(`by ${name} after its login leaves no token at Vault, and says that it was ended`, async () => {
      const dir = folder.sub(name);
      await using vault = await startSealableVault({ release: 'newest', dir });
      await prepareTransit(vault.admin);
      await using plugin = await startWithAppRole(vault.admin, vault.address, dir);
      await plugin.ready();
      const before = await sessions(vault.admin);
      const held = (path: string): number => (path === `transit/keys/${KEY}` ? HELD_MS : 0);
      await using slow = await startSlowAnswers(vault.address, held);
      const config = join(dir, 'config.yaml');
      const other = join(dir, 'other.yaml');
      writeFileSync(other, readFileSync(config, 'utf8').replaceAll(vault.address, slow.address));
      const args = ['preflight', '--config', other];
      await using proof = await startProcess({
        program: PROGRAM,
        args,
        logFile: join(dir, 'proof.log'),
      });
      await waitUntil('a login', WAIT_MS, async () => slow.answered('auth/approle/login') === 1);
      await waitUntil('a key', WAIT_MS, async () => slow.answered(`transit/keys/${KEY}`) > 0);
      assert.equal((await sessions(vault.admin)).size, before.size + 1);
      process.kill(proof.pid, name);
      assert.equal(await proof.exited, 'code 1');
      assert.deepEqual(await sessions(vault.admin), before);
      assert.match(readFileSync(proof.logFile, 'utf8'), /NOT PROVED: keys: a signal ended it/);
    });
});

describe('a secret id that is response-wrapped', () => {
  it('is not used up by a proof: there is none', async () => {
    const dir = folder.sub('wrapped');
    const appRole = { roleID: 'r', secretIDFile: join(dir, 'secret-id'), secretIDWrapped: true };
    const vault = { addresses: ['http://127.0.0.1:9'], key: KEY, auth: { appRole } };
    const file = join(dir, 'config.yaml');
    const providers = [{ name: 'vault', vault }];
    const kind = { apiVersion: 'trousseau.io/v1', kind: 'KMSPluginConfiguration' };
    writeFileSync(file, JSON.stringify({ ...kind, providers }));
    const { code, err } = await trousseau('preflight', '--config', file);
    assert.equal(code, 1);
    assert.match(err, /secretIDWrapped names a wrapping token, which works once/);
  });
});
