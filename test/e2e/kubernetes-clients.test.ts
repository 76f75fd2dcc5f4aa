import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { kmsProvider } from '../servers/encryption-configuration.ts';
import {
  type KmsApi,
  type KubernetesRelease,
  startKubernetesClient,
} from '../servers/kms-client.ts';
import type { Plugin } from '../servers/plugin.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import { PLAIN, prepareTransit, startWithToken, testFolder } from '../vault/vault-under-test.ts';

const OBJECTS = 500;
const WORKERS = 16;

/** The status version that each release takes: 1.27 knows only the older name. */
const rows: readonly { release: KubernetesRelease; api: KmsApi; version?: string }[] = [
  { release: '1.22', api: 'v1' },
  { release: '1.27', api: 'v1' },
  { release: '1.27', api: 'v2', version: 'v2beta1' },
  { release: '1.36', api: 'v1' },
  { release: '1.36', api: 'v2', version: 'v2' },
];

const folder = testFolder();
let vault: DevVault;
let plugin: Plugin;

describe("Kubernetes' own KMS clients, over a real Vault", { timeout: 300_000 }, () => {
  before(async () => {
    vault = await startDevVault({ release: 'oldest', dir: folder.sub('vault') });
    await prepareTransit(vault.admin);
    plugin = await startWithToken(vault.admin, vault.address, folder.sub('plugin'));
    await plugin.ready();
  });
  after(async () => {
    await plugin?.stop();
    await vault?.stop();
    folder.remove();
  });

  for (const { release, api, version } of rows) {
    it(`Kubernetes ${release}, KMS ${api}: calls, health, and ${OBJECTS} objects through the envelope, none lost`, async () => {
      const dir = folder.sub(`${release}-${api}`);
      const providers = [kmsProvider(api, plugin.socket)];
      await using client = await startKubernetesClient({
        release,
        dir,
        socket: plugin.socket,
        providers,
      });
      const sealed = await client.encrypt(api, PLAIN, 'uid');
      assert.deepEqual(await client.decrypt(api, sealed, 'uid'), PLAIN);
      if (version !== undefined) {
        const status = await client.status();
        assert.equal(status.version, version);
        assert.equal(status.healthz, 'ok');
        assert.equal(status.keyId, sealed.keyId);
      }
      assert.deepEqual([...new Set(Object.values(await client.healthz()))], ['']);
      const written = await client.write({ through: 'envelope', count: OBJECTS, workers: WORKERS });
      assert.deepEqual([written.count, written.errors, written.firstError], [OBJECTS, 0, '']);
      await client.load();
      const read = await client.read({ through: 'envelope', workers: WORKERS });
      assert.deepEqual(
        [read.count, read.errors, read.mismatches, read.firstError],
        [OBJECTS, 0, 0, ''],
      );
    });

    it(`Kubernetes ${release}, KMS ${api}: a damaged ciphertext is refused, the next call served`, async () => {
      const dir = folder.sub(`${release}-${api}-damaged`);
      await using client = await startKubernetesClient({ release, dir, socket: plugin.socket });
      const sealed = await client.encrypt(api, PLAIN, 'uid');
      const ciphertext = Buffer.from(sealed.ciphertext);
      ciphertext[40] = ciphertext[40] === 0x41 ? 0x42 : 0x41;
      await assert.rejects(client.decrypt(api, { ...sealed, ciphertext }, 'uid'), {
        code: 'InvalidArgument',
      });
      await assert.rejects(client.decrypt(api, { ...sealed, ciphertext: Buffer.alloc(0) }, 'uid'), {
        code: 'InvalidArgument',
      });
      assert.deepEqual(await client.decrypt(api, sealed, 'uid'), PLAIN);
    });
  }
});
