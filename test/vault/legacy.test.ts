import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Plugin } from '../servers/plugin.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import {
  KEY,
  PLAIN,
  prepareTransit,
  RELEASES,
  startWithToken,
  testFolder,
} from './vault-under-test.ts';

const NONE: ReadonlyMap<string, Uint8Array> = new Map();
const folder = testFolder();
after(() => folder.remove());

for (const release of RELEASES) {
  describe(`what other plugins wrote with the same key in the ${release} Vault`, {
    timeout: 120_000,
  }, () => {
    let vault: DevVault;
    let plugin: Plugin;
    /** As any Transit client gets it: ASCII `vault:vN:<base64>`. */
    let stored: Buffer;

    before(async () => {
      vault = await startDevVault({ release, dir: folder.sub(release) });
      await prepareTransit(vault.admin);
      const { data } = await vault.admin.write(`transit/encrypt/${KEY}`, {
        plaintext: PLAIN.toString('base64'),
      });
      stored = Buffer.from(String(data?.['ciphertext']));
      await vault.admin.rotateKey(KEY);
      plugin = await startWithToken(vault.admin, vault.address, folder.sub(`${release}-plugin`));
      await plugin.ready();
    });
    after(async () => {
      await plugin?.stop();
      await vault?.stop();
    });

    it('Trousseau 1.x, KMS v1: decrypts', async () => {
      assert.equal(stored.length, 89);
      assert.deepEqual(Buffer.from((await plugin.client.v1.decrypt(stored)).plain), PLAIN);
    });

    const line = (text: string): Buffer => Buffer.from(text, 'latin1');
    const encoded = (bytes: Buffer): string => bytes.toString('base64');
    const older: readonly [string, (transit: Buffer) => Buffer][] = [
      ["Oracle's plugin", (transit) => line(`${KEY}${transit.toString().slice('vault'.length)}`)],
      ['Trousseau 2 alpha, the socket for Vault', (transit) => line(encoded(transit))],
      ['Trousseau 2 alpha, the proxy', (transit) => line(`vault:-:${encoded(transit)}\n`)],
      [
        'Trousseau 2 alpha, the proxy with other providers',
        (transit) => line(`awskms:-:QUJD\nazurekms:-:QUJD\nvault:-:${encoded(transit)}\n`),
      ],
      [
        'Trousseau 2 alpha, the proxy, the payload not encoded',
        (transit) => line(`debug:-:QUJD\nvault:-:${transit.toString()}\n`),
      ],
    ];
    for (const [name, form] of older) {
      it(`${name}, KMS v1: decrypts, and what was cut does not`, async () => {
        const cipher = form(stored);
        assert.deepEqual(Buffer.from((await plugin.client.v1.decrypt(cipher)).plain), PLAIN);
        await assert.rejects(plugin.client.v1.decrypt(cipher.subarray(0, -9)), /INVALID_ARGUMENT/);
      });
    }

    const rows: [string, string, ReadonlyMap<string, Uint8Array>][] = [
      ['vault-kubernetes-kms, key_id the decimal version', '1', NONE],
      ['vault-kubernetes-kms 0.x, key_id an epoch time', '1700000000', NONE],
      ['kleidi', 'kleidi-kms-plugin', new Map([['v2.kleidi.beezy.dev', Buffer.from('1')]])],
      [
        'kleidi with version and time',
        'kleidi-kms-plugin_1_1700000000',
        new Map([['v2.kleidi.beezy.dev', Buffer.from('1')]]),
      ],
    ];
    for (const [name, key_id, annotations] of rows) {
      it(`${name}, KMS v2: decrypts`, async () => {
        const { plaintext } = await plugin.client.v2.decrypt({
          ciphertext: stored,
          key_id,
          annotations,
          uid: 'uid',
        });
        assert.deepEqual(Buffer.from(plaintext), PLAIN);
      });
    }

    const damaged: [string, (good: Buffer) => Buffer][] = [
      ['is empty', () => Buffer.alloc(0)],
      ['is the prefix alone', () => Buffer.from('vault:v1:')],
      ['was cut', (good) => good.subarray(0, 60)],
      ['was cut by one character', (good) => good.subarray(0, -1)],
      ['has a flipped bit', (good) => flipped(good, 40)],
      ['is of another system', () => Buffer.from('k8s:enc:aescbc:v1:key1:')],
    ];
    for (const [what, damage] of damaged) {
      it(`a ciphertext that ${what} gets INVALID_ARGUMENT at once, on both APIs`, async () => {
        const ciphertext = damage(stored);
        await assert.rejects(plugin.client.v1.decrypt(ciphertext), /INVALID_ARGUMENT/);
        await assert.rejects(
          plugin.client.v2.decrypt({ ciphertext, key_id: '1', annotations: NONE, uid: 'uid' }),
          /INVALID_ARGUMENT/,
        );
        assert.equal((await plugin.client.v2.status()).healthz, 'ok');
      });
    }

    it('a ciphertext of a version that is not known yet is asked for until the deadline', async () => {
      const ciphertext = Buffer.from(stored.toString().replace('vault:v1:', 'vault:v99:'));
      await assert.rejects(
        plugin.client.v1.decrypt(ciphertext),
        /UNAVAILABLE.*does not know that version of the key/,
      );
      assert.equal((await plugin.client.v2.status()).healthz, 'ok');
      assert.deepEqual(Buffer.from((await plugin.client.v1.decrypt(stored)).plain), PLAIN);
    });

    it('one damaged ciphertext among good ones fails alone', async () => {
      const bad = flipped(stored, 50);
      const answers = await Promise.allSettled(
        Array.from({ length: 32 }, (_, i) => plugin.client.v1.decrypt(i === 7 ? bad : stored)),
      );
      assert.deepEqual(
        answers.flatMap(({ status }, i) => (status === 'rejected' ? [i] : [])),
        [7],
      );
    });
  });
}

/** The same length and still good base64, but another bit somewhere in the sealed bytes. */
function flipped(ciphertext: Buffer, at: number): Buffer {
  const text = ciphertext.toString();
  return Buffer.from(`${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`);
}
