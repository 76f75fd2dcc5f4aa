import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { after, describe, it } from 'node:test';
import { createAuthority } from '../servers/certificates.ts';
import type { Plugin } from '../servers/plugin.ts';
import { startRecordingProxy } from '../servers/recording-proxy.ts';
import { startDevVault, startSealableVault } from '../servers/vault.ts';
import {
  PLAIN,
  prepareTransit,
  startTlsVault,
  startWithAppRole,
  startWithToken,
  testFolder,
} from './vault-under-test.ts';

const folder = testFolder();
after(() => folder.remove());

async function roundTrip(plugin: Awaited<ReturnType<typeof startWithToken>>): Promise<void> {
  await plugin.ready();
  const encrypted = await plugin.client.v2.encrypt(PLAIN, 'uid');
  const { plaintext } = await plugin.client.v2.decrypt({ ...encrypted, uid: 'uid' });
  assert.deepEqual(Buffer.from(plaintext), PLAIN);
}

describe('requests to Vault', { timeout: 120_000 }, () => {
  it('carry the namespace, the login too, every one of them', async () => {
    await using vault = await startDevVault({
      release: 'newest',
      dir: folder.sub('namespace-vault'),
    });
    await prepareTransit(vault.admin);
    await using wire = await startRecordingProxy(vault.address);
    const role = { token_ttl: '2s', token_max_ttl: '1h' };
    {
      await using plugin = await startWithAppRole(
        vault.admin,
        wire.address,
        folder.sub('namespace'),
        role,
        {
          namespace: 'admin/team-a',
        },
      );
      await roundTrip(plugin);
      while (!wire.requests.some(({ path }) => path.endsWith('/renew-self')))
        await roundTrip(plugin);
    }
    assert.deepEqual(
      [...new Set(wire.requests.map(({ namespace }) => namespace))],
      ['admin/team-a'],
    );
    const paths = new Set(wire.requests.map(({ path }) => path));
    for (const path of [
      'auth/approle/login',
      'auth/token/renew-self',
      'transit/keys/kubernetes',
      'transit/encrypt/kubernetes',
      'transit/decrypt/kubernetes',
    ]) {
      assert.ok(paths.has(`/v1/${path}`), `${path} was among ${[...paths]}`);
    }
  });

  it('carry no namespace header where none is configured', async () => {
    await using vault = await startDevVault({ release: 'newest', dir: folder.sub('plain-vault') });
    await prepareTransit(vault.admin);
    await using wire = await startRecordingProxy(vault.address);
    await using plugin = await startWithToken(vault.admin, wire.address, folder.sub('plain'));
    await roundTrip(plugin);
    assert.deepEqual([...new Set(wire.requests.map(({ namespace }) => namespace))], [undefined]);
  });

  it('are at most four a minute while nothing happens', async () => {
    await using vault = await startDevVault({ release: 'newest', dir: folder.sub('idle-vault') });
    await prepareTransit(vault.admin);
    await using wire = await startRecordingProxy(vault.address);
    await using plugin = await startWithToken(
      vault.admin,
      wire.address,
      folder.sub('idle'),
      {},
      {},
      { health: {} },
    );
    await plugin.ready();
    const before = wire.requests.length;
    const watched = new Promise<void>((resolve) => setTimeout(resolve, 31_000));
    await watched;
    assert.ok(
      wire.requests.length - before <= 2,
      `${wire.requests.length - before} in half a minute`,
    );
  });

  it('use the mount and the key that are configured, also where the mount has several parts', async () => {
    await using vault = await startDevVault({ release: 'oldest', dir: folder.sub('mount-vault') });
    await prepareTransit(vault.admin, 'team-a/transit');
    await using plugin = await startWithToken(
      vault.admin,
      vault.address,
      folder.sub('mount'),
      {},
      { mount: 'team-a/transit' },
    );
    await roundTrip(plugin);
  });
});

describe('TLS to Vault', { timeout: 120_000 }, () => {
  it('takes a private authority, and refuses a certificate of another one, or for another name', async () => {
    const dir = folder.sub('tls-vault');
    await using encrypted = await startTlsVault(dir, ['vault.example', '127.0.0.1']);
    const { vault, authority } = encrypted;
    const other = await createAuthority(dir, 'other');
    await prepareTransit(vault.admin);
    const start = (name: string, tls: object) =>
      startWithToken(vault.admin, vault.address, folder.sub(name), {}, { tls });
    {
      await using plugin = await start('tls-good', {
        caFile: authority.caFile,
        serverName: 'vault.example',
      });
      await roundTrip(plugin);
    }
    const refused: [string, object, RegExp][] = [
      [
        'tls-other',
        { caFile: other.caFile, serverName: 'vault.example' },
        /issued by ca of a test, and that authority is not in tls\.caFile/,
      ],
      [
        'tls-system',
        { serverName: 'vault.example' },
        /issued by ca of a test, and that authority is not in tls\.caFile/,
      ],
      [
        'tls-name',
        { caFile: authority.caFile, serverName: 'other.example' },
        /is for vault\.example, 127\.0\.0\.1, not for other\.example: .*tls\.serverName/,
      ],
    ];
    for (const [name, tls, why] of refused) {
      await using plugin = await start(name, tls);
      await assert.rejects(plugin.client.v2.encrypt(PLAIN, 'uid'), why);
      await assert.rejects(plugin.client.v2.status(), /UNAVAILABLE/);
    }
  });

  it('shows a client certificate where Vault wants one, and is told of one that Vault refuses', async () => {
    const dir = folder.sub('mutual-vault');
    const authority = await createAuthority(dir);
    const other = await createAuthority(dir, 'other');
    const server = await authority.issue('server', { commonName: 'vault', hosts: ['127.0.0.1'] });
    const client = await authority.issue('client', { commonName: 'node-1' });
    const foreign = await other.issue('foreign', { commonName: 'node-1' });
    const tls = { ...server, caFile: authority.caFile, requireClientCertificate: true, client };
    await using vault = await startSealableVault({ release: 'oldest', dir, tls });
    await prepareTransit(vault.admin);
    const start = (name: string, shown: object): Promise<Plugin> =>
      startWithToken(
        vault.admin,
        vault.address,
        folder.sub(name),
        {},
        {
          tls: { caFile: authority.caFile, ...shown },
        },
      );
    await using plugin = await start('mutual', client);
    await roundTrip(plugin);
    for (const [name, shown] of [
      ['mutual-none', {}],
      ['mutual-foreign', foreign],
    ] as const) {
      await using refused = await start(name, shown);
      await assert.rejects(
        refused.client.v2.encrypt(PLAIN, 'uid'),
        /_ALERT_\w+: Vault does not take the client certificate, or wants one/,
        name,
      );
    }
  });
});

/** An HTTP CONNECT proxy as RFC 9110, section 9.3.6, has it; remembers where it was asked to connect to. */
async function startConnectProxy(tls?: { readonly cert: Buffer; readonly key: Buffer }): Promise<{
  url: string;
  asked: string[];
  server: Server;
  [Symbol.asyncDispose](): Promise<void>;
}> {
  const asked: string[] = [];
  const tunnels = new Set<Socket>();
  const answer: RequestListener = (_request, response) => void response.writeHead(405).end();
  const server = tls === undefined ? createServer(answer) : createSecureServer(tls, answer);
  server.on('connect', (request, client: Socket, head) => {
    asked.push(request.url ?? '');
    const [host, port] = (request.url ?? '').split(':');
    const upstream = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      upstream.write(head);
      upstream.pipe(client).pipe(upstream);
    });
    for (const socket of [client, upstream]) {
      tunnels.add(socket);
      socket.on('error', () => socket.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    server,
    async [Symbol.asyncDispose]() {
      for (const socket of tunnels) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('the authorities that are listed', { timeout: 120_000 }, () => {
  it('are trusted as they are, without the root above them too', async () => {
    const dir = folder.sub('intermediate');
    await using encrypted = await startTlsVault(dir);
    const { vault, server } = encrypted;
    await prepareTransit(vault.admin);
    // The end of the chain alone, which is no root; an intermediate is trusted in the same way.
    await using plugin = await startWithToken(
      vault.admin,
      vault.address,
      folder.sub('intermediate-plugin'),
      {},
      { tls: { caFile: server.certFile } },
    );
    await roundTrip(plugin);
  });
});

describe('an HTTP CONNECT proxy', { timeout: 120_000 }, () => {
  it('that is configured is the way to Vault, by TLS or not, and TLS goes through it to Vault itself', async () => {
    const dir = folder.sub('proxied-vault');
    await using encrypted = await startTlsVault(dir);
    const { vault, authority, server } = encrypted;
    // Of the same private authority, which the system does not know.
    const pair = { cert: readFileSync(server.certFile), key: readFileSync(server.keyFile) };
    await prepareTransit(vault.admin);
    for (const secure of [false, true]) {
      await using proxy = await startConnectProxy(secure ? pair : undefined);
      await using plugin = await startWithToken(
        vault.admin,
        vault.address,
        folder.sub(`proxied-${secure}`),
        {},
        {
          proxy: proxy.url,
          tls: { caFile: authority.caFile },
        },
      );
      await roundTrip(plugin);
      assert.deepEqual([...new Set(proxy.asked)], [`127.0.0.1:${vault.port}`]);
    }
  });
});
