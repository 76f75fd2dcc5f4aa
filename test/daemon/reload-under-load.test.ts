import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
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
  twoKeyrings,
} from './changed-config.ts';
import { type Load, startLoad } from './load.ts';

const CALLERS = 64;
const SEED = Buffer.alloc(32, 0x5e);

type Loaded = { readonly plugin: Plugin; readonly load: Load };

async function underLoad(t: TestContext, dir: string, config: object): Promise<Loaded> {
  const plugin = await startPlugin({ dir, config: { ...config } });
  t.after(() => plugin.stop());
  await plugin.ready();
  const load = startLoad(plugin.socket, CALLERS);
  await load.more(CALLERS * 4);
  return { plugin, load };
}

describe(`a changed configuration, under ${CALLERS} calls at once, loses none of them`, () => {
  it('where the keyring stays and its settings change', async (t) => {
    const dir = temporaryFolder(t);
    const [a] = await twoKeyrings(dir);
    const { plugin, load } = await underLoad(t, dir, { providers: [a] });
    const { key_id: before } = await plugin.client.v2.status();
    const sealKeyFile = join(dir, 'moved.key');
    copyFileSync(a.local.sealKeyFile, sealKeyFile);
    const providers = [{ ...a, local: { ...a.local, sealKeyFile } }];
    replaceConfig(dir, { providers, decryptCache: {}, health: { watchInterval: '1s' } });
    await logged(plugin, RELOADED, 1);
    await load.more(CALLERS * 4);
    assert.ok((await load.stop()) > 0);
    assert.deepEqual([...load.keyIds], [before]);
    const { ok, at } = await reloadOf(dir);
    assert.equal(ok, true);
    assert.ok(Number.isFinite(Date.parse(String(at))));
  });

  it('where another provider is to encrypt, to and fro', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await twoKeyrings(dir);
    const { plugin, load } = await underLoad(t, dir, { providers, write: ['a'] });
    const sealed = await plugin.client.v2.encrypt(SEED, 'by a');
    const ids = [sealed.key_id];
    for (const [i, name] of ['b', 'a', 'b'].entries()) {
      replaceConfig(dir, { providers, write: [name] });
      await logged(plugin, RELOADED, i + 1);
      const { key_id: announced } = await plugin.client.v2.status();
      assert.equal((await plugin.client.v2.encrypt(SEED, name)).key_id, announced);
      ids.push(announced);
      await load.more(CALLERS * 4);
    }
    assert.deepEqual([ids[0], ids[1]], [ids[2], ids[3]]);
    assert.notEqual(ids[0], ids[1]);
    const { plaintext } = await plugin.client.v2.decrypt({ ...sealed, uid: 'by b' });
    assert.deepEqual(Buffer.from(plaintext), SEED);
    await load.stop();
    assert.deepEqual([...load.keyIds].sort(), ids.slice(0, 2).sort());
  });

  it('where it is wrong, does not work, or is half written', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await twoKeyrings(dir);
    const { plugin, load } = await underLoad(t, dir, { providers, write: ['a'] });
    const { key_id: before } = await plugin.client.v2.status();
    const file = join(dir, 'config.yaml');

    replaceConfig(dir, { providers, write: ['b'], health: { watchIntervall: '1s' } });
    await logged(plugin, REFUSED, 1);
    const wrong = String((await reloadOf(dir))['why']);
    assert.match(wrong, /config\.yaml:\d+:\d+: health\.watchIntervall: .*watchInterval\?/);

    const missing = { name: 'b', local: { keyringFile: join(dir, 'none.json') } };
    replaceConfig(dir, { providers: [providers[0], missing], write: ['b'] });
    await logged(plugin, REFUSED, 2);
    const { ok, why } = await reloadOf(dir);
    assert.equal(ok, false);
    assert.match(String(why), /none\.json/);

    replaceConfig(dir, { providers, write: ['b'] });
    const whole = readFileSync(file, 'utf8');
    writeFileSync(file, whole.slice(0, whole.length / 2));
    await waitUntil('the refusal of the half', NOTICE_MS, async () => {
      return /config\.yaml:\d+/.test(String((await reloadOf(dir))['why']));
    });
    await load.more(CALLERS * 4);
    assert.equal((await plugin.client.v2.status()).key_id, before);
    assert.deepEqual([...load.keyIds], [before]);
    for (const { level } of linesOf(plugin, REFUSED)) assert.equal(level, 'error');

    writeFileSync(file, whole);
    await logged(plugin, RELOADED, 1);
    assert.notEqual((await plugin.client.v2.status()).key_id, before);
    const last = await reloadOf(dir);
    assert.deepEqual([last.ok, 'why' in last], [true, false]);
    await load.more(CALLERS * 4);
    await load.stop();
  });
});
