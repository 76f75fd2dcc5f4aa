/** docs/operations.md, "Encrypt one resource more, or one less": which item of the file is in force. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { trousseau } from '../daemon/program.ts';
import { IDENTITY } from '../servers/encryption-configuration.ts';
import { type KubernetesClient, startKubernetesClient } from '../servers/kms-client.ts';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
import { testFolder } from '../vault/vault-under-test.ts';
import { documentBlocks } from './document.ts';

/** Its item in the document, where it has one with `identity` alone. */
const ALONE = / {2}- resources: \[secrets\]\n {4}providers:\n {6}- identity: \{\}\n/;
const PATH = '/registry/secrets/default/one';
const OBJECT = Buffer.from('an object');

/** The client shows what becomes of Secrets, so they stand for the resource that the document adds or removes. */
function swapped(text: string): string {
  const names: Readonly<Record<string, string>> = { secrets: 'configmaps', configmaps: 'secrets' };
  return text.replaceAll(/\b(?:secrets|configmaps)\b/g, (name) => names[name] ?? name);
}

const [more = '', less = ''] = documentBlocks('docs/operations.md')
  .map(({ text }) => text)
  .filter((text) => text.includes('kind: EncryptionConfiguration'))
  .map(swapped);

describe('a resource whose item names others too', { timeout: 60_000 }, () => {
  const folder = testFolder();
  let plugin: Plugin;
  let client: KubernetesClient;
  let stored: Buffer;

  const use = async (text: string): Promise<void> => {
    const here = text.replaceAll('/run/trousseau/kms.sock', plugin.socket);
    writeFileSync(join(folder.path, 'kms-client-1.36.yaml'), here);
    await client.load();
  };

  before(async () => {
    const keyringFile = join(folder.path, 'keyring.json');
    await trousseau('keyring', 'init', keyringFile);
    const providers = [{ name: 'local', local: { keyringFile } }];
    plugin = await startPlugin({ dir: folder.path, config: { providers } });
    await plugin.ready();
    client = await startKubernetesClient({
      ...{ release: '1.36', dir: folder.path, socket: plugin.socket, providers: [IDENTITY] },
    });
    assert.match(less, ALONE);
    await use(less.replace(ALONE, ''));
    stored = await client.toStorage(PATH, OBJECT);
    assert.match(String(stored), /^k8s:enc:kms:v2:trousseau:/);
  });
  after(async () => {
    await client?.stop();
    await plugin?.stop();
    folder.remove();
  });

  it('is read, and written in clear, with an item of identity alone above that', async () => {
    await use(less);
    const { data, stale } = await client.fromStorage(PATH, stored);
    assert.deepEqual([data, stale], [OBJECT, true]);
    assert.deepEqual(await client.toStorage(PATH, OBJECT), OBJECT);
  });

  const all = less.replace(/\[\w+, \w+\]/, "['*.*']");
  const rows: readonly (readonly [string, string, RegExp])[] = [
    ['with an item of its own, whose entry has another name', more, /no matching prefix found/],
    ['with an item of identity alone above a wildcard', all, /no matching prefix found/],
    ['where one name stands twice', more.replaceAll('trousseau-secrets', 'trousseau'), /duplicate/],
    ['where its item stands behind a wildcard', more.replace('[configmaps]', "['*.*']"), /masked/],
  ];
  for (const [what, text, expected] of rows)
    it(`cannot be read ${what}`, async () => {
      await assert.rejects(
        use(text).then(() => client.fromStorage(PATH, stored)),
        expected,
      );
    });
});
