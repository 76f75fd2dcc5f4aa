/** Vault gets a certificate of another authority, and the plugin's files follow: with no restart and no reload. */
import assert from 'node:assert/strict';
import { copyFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { createAuthority } from '../servers/certificates.ts';
import { startPlugin } from '../servers/plugin.ts';
import { startSealableVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  PLAIN,
  POLICY,
  prepareTransit,
  secretFile,
  testFolder,
  vaultConfig,
} from './vault-under-test.ts';

const folder = testFolder();
after(() => folder.remove());

/** While a server fails the files are read again at most every 5 s. */
const FOLLOWS_WITHIN_MS = 15_000;
const ORDERS = ['before Vault has its certificate', 'after Vault has its certificate'] as const;
const PLACES = ['caFile', 'the machine'] as const;
const CASES = PLACES.flatMap((place) => ORDERS.map((order) => [place, order] as const));

describe('a certificate of another authority', { timeout: 120_000 }, () => {
  for (const [i, [place, order]] of CASES.entries()) {
    it(`is served with, where ${place} gets that authority ${order}`, async () => {
      const dir = folder.sub(`case-${i}`);
      const first = await createAuthority(dir, 'first');
      const second = await createAuthority(dir, 'second');
      const hosts = ['127.0.0.1'];
      const server = await first.issue('server', { commonName: 'vault', hosts });
      const other = await second.issue('other', { commonName: 'vault', hosts });
      // The test's own requests are good with both.
      const both = join(dir, 'both.pem');
      writeFileSync(both, first.ca + second.ca);
      const tls = { ...server, caFile: both };
      await using vault = await startSealableVault({ release: 'newest', dir, tls });
      await prepareTransit(vault.admin);
      const caFile = join(dir, 'ours.pem');
      copyFileSync(first.caFile, caFile);
      const token = await vault.admin.createToken({ policies: [POLICY] });
      const auth = { token: { tokenFile: secretFile(dir, 'token', token) } };
      const more = place === 'caFile' ? { tls: { caFile } } : {};
      const env = { SSL_CERT_FILE: caFile, SSL_CERT_DIR: folder.sub(`none-${i}`) };
      await using plugin = await startPlugin({
        dir,
        config: vaultConfig(vault.address, auth, more),
        ...(place === 'caFile' ? {} : { env }),
      });
      await plugin.ready();
      const before = await plugin.client.v2.encrypt(PLAIN, 'before');
      const replaceOurs = (): void => {
        copyFileSync(both, `${caFile}.new`);
        renameSync(`${caFile}.new`, caFile);
      };
      if (order === ORDERS[0]) replaceOurs();
      copyFileSync(other.certFile, server.certFile);
      copyFileSync(other.keyFile, server.keyFile);
      await vault.restart();
      if (order === ORDERS[1]) {
        await waitUntil('a Status that names the authority', FOLLOWS_WITHIN_MS, async () =>
          /second of a test/.test((await plugin.client.v2.status()).healthz),
        );
        replaceOurs();
      }
      await plugin.ready(FOLLOWS_WITHIN_MS);
      const { plaintext } = await plugin.client.v2.decrypt({ ...before, uid: 'after' });
      assert.deepEqual(Buffer.from(plaintext), PLAIN);
    });
  }
});
