/** The name servers go away: the machine looks up no name any more, and each connection is cut. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { PROGRAM } from '../servers/plugin.ts';
import { startServer } from '../servers/process.ts';
import { startToxiproxy } from '../servers/toxiproxy.ts';
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

const NAME = 'vault.example.test';
const START_MS = 20_000;
const SERVED_MS = 10_000;
/** Its own names for the program alone: a mount namespace, as a container has one. */
const WITH_OWN_NAMES = `
mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf || exit 1
shift 2
exec "$@"`;

const folder = testFolder();
after(() => folder.remove());

describe('name servers that go away, and then all connections', () => {
  for (const addresses of [['127.0.0.1'], ['127.0.0.1', '127.0.0.2']])
    it(`leave a name with ${addresses.length} address(es) at its last ones`, async () => {
      const dir = folder.sub(`names-${addresses.length}`);
      await using vault = await startSealableVault({ release: 'newest', dir });
      await prepareTransit(vault.admin);
      await using proxies = await startToxiproxy(dir);
      const { port } = new URL(vault.address);
      const way = await proxies.way(Number(port));
      const token = await vault.admin.createToken({ policies: [POLICY] });
      const auth = { token: { tokenFile: secretFile(dir, 'token', token) } };
      const url = `http://${NAME}:${new URL(`http://${way.address}`).port}`;
      const socket = join(dir, 'kms.sock');
      const config = secretFile(
        dir,
        'config.yaml',
        JSON.stringify({
          apiVersion: 'trousseau.io/v1',
          kind: 'KMSPluginConfiguration',
          listen: { socket },
          admin: { socket: join(dir, 'admin.sock') },
          ...vaultConfig(url, auth, { allowPlainHTTP: true }),
        }),
      );
      const hosts = join(dir, 'hosts');
      writeFileSync(hosts, addresses.map((address) => `${address} ${NAME}\n`).join(''));
      const resolver = join(dir, 'resolv.conf');
      writeFileSync(resolver, 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n');
      const client = createKmsClient(socket);
      const names = ['-c', WITH_OWN_NAMES, 'sh', hosts, resolver];
      await using plugin = await startServer(
        {
          program: 'unshare',
          args: ['--mount', '/bin/sh', ...names, PROGRAM, 'serve', '--config', config],
          logFile: join(dir, 'plugin.log'),
        },
        START_MS,
        async () => (await client.v2.status()).healthz === 'ok',
      );
      const sealed = await client.v2.encrypt(PLAIN, 'before');

      writeFileSync(hosts, '');
      await way.disable();
      await way.enable();

      await waitUntil('a decrypt', SERVED_MS, async () => {
        const { plaintext } = await client.v2.decrypt({ ...sealed, uid: 'after' });
        return Buffer.from(plaintext).equals(PLAIN);
      });
      assert.equal((await client.v2.status()).healthz, 'ok');
      assert.ok(plugin.isRunning());
      client.close();
    });
});
