/** Providers that only decrypt, of a real Vault: found not to before a call needs them, and keys of any type. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { replaceConfig } from '../daemon/changed-config.ts';
import { askAdmin, trousseau } from '../daemon/program.ts';
import { auditLog } from '../servers/audit-log.ts';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import { transitPolicy } from '../servers/vault-admin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { providerOn } from './provider-on.ts';
import {
  KEY,
  PLAIN,
  prepareTransit,
  RELEASES,
  secretFile,
  testFolder,
} from './vault-under-test.ts';

const OLD = 'old-key';
const WAIT_MS = 15_000;
const folder = testFolder();
after(() => folder.remove());
const signal = (): AbortSignal => AbortSignal.timeout(10_000);
const withoutDecrypt = (key: string): string =>
  transitPolicy(key)
    .split('\n')
    .filter((line) => !line.includes('/decrypt/'))
    .join('\n');

for (const release of RELEASES) {
  describe(`a provider that only decrypts, of the ${release} Vault`, { timeout: 120_000 }, () => {
    let vault: DevVault;

    before(async () => {
      vault = await startDevVault({ release, dir: folder.sub(release) });
      await prepareTransit(vault.admin);
      await vault.admin.createKey(OLD);
      await vault.admin.writePolicy('all', transitPolicy(KEY) + transitPolicy(OLD));
    });
    after(() => vault?.stop());

    /** What is said of a key by one whose policy is this. */
    const asked = async (key: string, policy: string): Promise<string> => {
      await vault.admin.writePolicy('asked', policy);
      const token = await vault.admin.createToken({ policies: ['asked'] });
      const auth = { token: { tokenFile: '/etc/token' } };
      const provider = providerOn([vault.address], auth, () => token, key);
      const outcome = await provider.mayDecrypt(signal());
      await provider.stop();
      return outcome.ok ? 'allowed' : `${outcome.error.kind}: ${outcome.error.message}`;
    };

    const raised = { min_decryption_version: 2, min_encryption_version: 2 };
    const states: readonly (readonly [
      string,
      Readonly<Record<string, unknown>>,
      (key: string) => Promise<unknown>,
    ])[] = [
      ['as it was made', {}, async () => undefined],
      ['rotated', {}, (key) => vault.admin.rotateKey(key)],
      [
        'whose first version is ruled out',
        {},
        async (key) => {
          await vault.admin.rotateKey(key);
          await vault.admin.configureKey(key, raised);
        },
      ],
      [
        'whose first version was trimmed away',
        {},
        async (key) => {
          await vault.admin.rotateKey(key);
          await vault.admin.configureKey(key, raised);
          await vault.admin.write(`transit/keys/${key}/trim`, { min_available_version: 2 });
        },
      ],
      ['of ChaCha20', { type: 'chacha20-poly1305' }, async () => undefined],
      ['of RSA', { type: 'rsa-2048' }, async () => undefined],
    ];
    for (const [i, [what, parameters, change]] of states.entries()) {
      it(`a key ${what}: whether its policy allows decrypt is known`, async () => {
        const key = `state-${i}`;
        await vault.admin.createKey(key, parameters);
        await change(key);
        assert.equal(await asked(key, transitPolicy(key)), 'allowed');
        const denied = await asked(key, withoutDecrypt(key));
        assert.match(denied, new RegExp(`^denied: .*update on transit/decrypt/${key}`));
      });
    }

    it('a key that is not there is no key that decrypts', async () => {
      assert.match(await asked('none', transitPolicy('none')), /^denied: .*does not exist/);
    });

    it('whose policy lacks decrypt is said by log, readyz, preflight and reload; Status goes on', async () => {
      const dir = folder.sub(`${release}-plugin`);
      const { admin } = vault;
      await admin.writePolicy('old', withoutDecrypt(OLD));
      const file = async (name: string, policy: string): Promise<string> =>
        secretFile(dir, name, await admin.createToken({ policies: [policy] }));
      const provider = (name: string, key: string, tokenFile: string) => ({
        ...{ name, vault: { addresses: [vault.address], key, auth: { token: { tokenFile } } } },
      });
      const config = {
        write: ['new'],
        health: { watchInterval: '1s' },
        providers: [
          provider('new', KEY, await file('token', 'all')),
          provider('old', OLD, await file('old-token', 'old')),
        ],
      };
      const audit = await auditLog(admin, dir);
      await using plugin = await startPlugin({ dir, config });
      await plugin.ready();
      const says = (msg: string): Promise<void> =>
        waitUntil(msg, WAIT_MS, async () =>
          logOf(plugin).some((line) => line.msg === msg && line['provider'] === 'old'),
        );
      await says('provider refuses');
      const { status, body } = await askAdmin(join(dir, 'admin.sock'), '/readyz');
      assert.equal(status, 503);
      assert.equal(body['state'], 'ready');
      const [trouble] = body['decryptOnly'] as readonly Record<string, unknown>[];
      assert.deepEqual([trouble?.['provider'], trouble?.['state']], ['old', 'refused']);
      assert.match(String(trouble?.['why']), /update on transit\/decrypt\/old-key/);
      assert.equal((await plugin.client.v2.status()).healthz, 'ok');
      assert.ok(audit.count(`transit/decrypt/${OLD}`) <= 2);

      const prove = () => trousseau('preflight', '--config', join(dir, 'config.yaml'));
      const refused = await prove();
      assert.equal(refused.code, 1, refused.out);
      assert.match(refused.err, /NOT PROVED: keys: old, which only decrypts: .*transit\/decrypt/);
      process.kill(plugin.process.pid, 'SIGHUP');
      await waitUntil('a refused reload', WAIT_MS, async () =>
        logOf(plugin).some(({ msg }) => msg.startsWith('reload refused')),
      );

      await admin.writePolicy('old', transitPolicy(OLD));
      assert.equal((await prove()).code, 0);
      process.kill(plugin.process.pid, 'SIGHUP');
      await waitUntil('a good readyz', WAIT_MS, async () => {
        const now = await askAdmin(join(dir, 'admin.sock'), '/readyz');
        return now.status === 200 && now.body['decryptOnly'] === undefined;
      });
    });

    it('has a key of RSA: it decrypts, and with it nothing is encrypted', async () => {
      const dir = folder.sub(`${release}-rsa`);
      const { admin } = vault;
      await admin.createKey('rsa', { type: 'rsa-2048' });
      await admin.writePolicy('rsa', transitPolicy('rsa') + transitPolicy(KEY));
      const tokenFile = secretFile(dir, 'token', await admin.createToken({ policies: ['rsa'] }));
      const provider = (name: string, key: string) => ({
        ...{ name, vault: { addresses: [vault.address], key, auth: { token: { tokenFile } } } },
      });
      const { data } = await admin.write('transit/encrypt/rsa', {
        plaintext: PLAIN.toString('base64'),
      });
      const ciphertext = Buffer.from(String(data?.['ciphertext']));
      const config = { health: { watchInterval: '1s' }, providers: [provider('rsa', 'rsa')] };
      await using plugin = await startPlugin({ dir, config });
      await waitUntil('a refusal', WAIT_MS, async () => {
        const why = await plugin.client.v2.status().catch(String);
        return /has type rsa-2048.*make a key of type aes256-gcm96/.test(String(why));
      });
      await assert.rejects(plugin.client.v1.encrypt(PLAIN), /has type rsa-2048/);
      assert.deepEqual(Buffer.from((await plugin.client.v1.decrypt(ciphertext)).plain), PLAIN);
      // The way out that the sentence names.
      const providers = [provider('new', KEY), provider('rsa', 'rsa')];
      replaceConfig(dir, { ...config, write: ['new'], providers });
      await plugin.ready(WAIT_MS);
      assert.deepEqual(Buffer.from((await plugin.client.v1.decrypt(ciphertext)).plain), PLAIN);
    });
  });
}

function logOf(plugin: Plugin): ReturnType<Plugin['log']> {
  return plugin.log().filter((line) => line['trial'] !== true);
}
