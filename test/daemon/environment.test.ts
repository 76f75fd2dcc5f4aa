import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { createAuthority } from '../servers/certificates.ts';
import { startPlugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { type FakeVault, startFakeVault } from './fake-vault.ts';
import { localProviders, vaultProviders } from './program.ts';

const ROOT = join(import.meta.dirname, '../..');
const READY_MS = 20_000;
/** RFC 6761: names that no resolver knows. */
const NAME = 'vault.invalid';

type ConnectProxy = AsyncDisposable & { readonly url: string; readonly tunnels: readonly string[] };

/** An HTTP proxy as Squid is one: CONNECT opens a tunnel (RFC 9110, 9.3.6), here always to one port. */
async function startConnectProxy(port: number): Promise<ConnectProxy> {
  const tunnels: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((_request, response) => response.writeHead(405).end());
  server.on('connect', ({ url = '' }, client: Socket) => {
    tunnels.push(url);
    const upstream = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(upstream).pipe(client);
    });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tunnels,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        for (const socket of sockets) socket.destroy();
      }),
  };
}

async function tlsVault(
  dir: string,
): Promise<{ readonly vault: FakeVault; readonly caFile: string }> {
  const authority = await createAuthority(dir);
  const { certFile, keyFile } = await authority.issue('vault', {
    commonName: 'vault',
    hosts: [NAME, '127.0.0.1'],
  });
  const tls = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  return { vault: await startFakeVault({ tls }), caFile: authority.caFile };
}

describe('the environment, where the configuration is silent', () => {
  it('names the address and the namespace: VAULT_ADDR and VAULT_NAMESPACE', async (t) => {
    await using vault = await startFakeVault();
    const dir = temporaryFolder(t);
    const providers = vaultProviders(dir, 'hvs.from-the-file');
    const env = {
      VAULT_ADDR: vault.address,
      VAULT_NAMESPACE: 'admin/team-a/',
      VAULT_TOKEN: 'hvs.from-the-environment',
    };
    await using plugin = await startPlugin({ dir, config: { providers }, env });
    await plugin.ready();
    assert.ok(vault.asked.length > 0);
    for (const { namespace, token } of vault.asked)
      assert.deepEqual([namespace, token], ['admin/team-a', 'hvs.from-the-file']);
    const warnings = plugin.log().filter(({ level }) => level === 'warn');
    assert.ok(warnings.some(({ why }) => String(why).includes('VAULT_TOKEN is ignored')));
    assert.equal(JSON.stringify(plugin.log()).includes('hvs.from-the-environment'), false);
  });

  it('has Node print nothing of what it works on: NODE_DEBUG', async (t) => {
    await using vault = await startFakeVault();
    const dir = temporaryFolder(t);
    const config = { providers: vaultProviders(dir, 'hvs.x', [vault.address]) };
    const env = { NODE_DEBUG: 'stream,net,http,http2,undici', NODE_DEBUG_NATIVE: 'http2' };
    await using plugin = await startPlugin({ dir, config, env });
    await plugin.ready();
    const { v2 } = plugin.client;
    const seed = Buffer.from('planted-seed-of-thirty-two-bytes');
    await v2.decrypt({ ...(await v2.encrypt(seed, 'uid')), uid: 'uid' });
    const lines = readFileSync(plugin.process.logFile, 'utf8').trim().split('\n');
    for (const line of lines) assert.match(line, /^\{"time":/);
    // The executable has no launcher, and would start itself again: with the unit it need not.
    const unit = readFileSync(join(ROOT, 'systemd/trousseau.service'), 'utf8');
    assert.match(unit, /^UnsetEnvironment=.*\bNODE_DEBUG\b/m);
  });

  it('has Node write no files: NODE_COMPILE_CACHE, NODE_V8_COVERAGE and NODE_REDIRECT_WARNINGS', async (t) => {
    const [dir, written] = [temporaryFolder(t), temporaryFolder(t)];
    const env = {
      NODE_COMPILE_CACHE: join(written, 'cache'),
      NODE_V8_COVERAGE: join(written, 'coverage'),
      NODE_REDIRECT_WARNINGS: join(written, 'warnings'),
    };
    const config = { providers: await localProviders(dir) };
    await using plugin = await startPlugin({ dir, config, env });
    await plugin.ready();
    await plugin.process.stop();
    assert.deepEqual(readdirSync(written), []);
  });

  it('gives way to what the configuration says', async (t) => {
    await using vault = await startFakeVault();
    await using other = await startFakeVault();
    const dir = temporaryFolder(t);
    const providers = vaultProviders(dir, 'hvs.x', [vault.address]);
    const env = { VAULT_ADDR: other.address };
    await using plugin = await startPlugin({ dir, config: { providers }, env });
    await plugin.ready();
    assert.deepEqual(other.asked, []);
  });

  it('names the authority of the server: VAULT_CACERT, without which it is not trusted, and NODE_EXTRA_CA_CERTS does not change that', async (t) => {
    const dir = temporaryFolder(t);
    const { vault, caFile } = await tlsVault(dir);
    await using _vault = vault;
    const config = { providers: vaultProviders(dir, 'hvs.x') };
    const env = { VAULT_ADDR: vault.address };
    for (const untrusted of [{}, { NODE_EXTRA_CA_CERTS: caFile }]) {
      await using plugin = await startPlugin({ dir, config, env: { ...env, ...untrusted } });
      await waitUntil('the refusal', READY_MS, () =>
        plugin.log().some(({ why }) => /certificate/i.test(String(why))),
      );
      assert.deepEqual(vault.asked, []);
    }
    await using plugin = await startPlugin({ dir, config, env: { ...env, VAULT_CACERT: caFile } });
    await plugin.ready();
    assert.ok(vault.asked.length > 0);
  });

  it('names the proxy: HTTPS_PROXY, which gets the name of the server and nothing in clear', async (t) => {
    const dir = temporaryFolder(t);
    const { vault, caFile } = await tlsVault(dir);
    await using _vault = vault;
    await using proxy = await startConnectProxy(vault.port);
    const env = {
      VAULT_ADDR: `https://${NAME}:8200`,
      VAULT_CACERT: caFile,
      HTTPS_PROXY: proxy.url,
      NO_PROXY: 'elsewhere.invalid,10.0.0.0/8',
    };
    const config = { providers: vaultProviders(dir, 'hvs.x') };
    await using plugin = await startPlugin({ dir, config, env });
    await plugin.ready();
    assert.ok(proxy.tunnels.length > 0);
    for (const tunnel of proxy.tunnels) assert.equal(tunnel, `${NAME}:8200`);
    assert.ok(vault.asked.length > 0);
  });

  it('leaves no certificate unverified, neither of the server nor of a proxy: NODE_TLS_REJECT_UNAUTHORIZED', async (t) => {
    const dir = temporaryFolder(t);
    const { vault } = await tlsVault(dir);
    await using _vault = vault;
    let received = 0;
    const { certFile, keyFile } = await (await createAuthority(dir, 'other')).issue('proxy', {
      commonName: 'proxy',
      hosts: ['127.0.0.1'],
    });
    const tls = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
    const proxy = createTlsServer(tls, (socket) => {
      socket
        .on('error', () => socket.destroy())
        .on('data', ({ length }) => {
          received += length;
        });
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    t.after(() => proxy.close());
    const { port } = proxy.address() as AddressInfo;
    const config = { providers: vaultProviders(dir, 'hvs.x') };
    for (const env of [
      { VAULT_ADDR: vault.address },
      { VAULT_ADDR: `https://${NAME}:8200`, HTTPS_PROXY: `https://user:secret@127.0.0.1:${port}` },
    ]) {
      const all = { ...env, NODE_TLS_REJECT_UNAUTHORIZED: '0' };
      await using plugin = await startPlugin({ dir, config, env: all });
      await waitUntil('a try', READY_MS, () =>
        plugin.log().some(({ why }) => /cannot reach|certificate/i.test(String(why))),
      );
      assert.ok(plugin.log().some(({ why }) => /certificate/i.test(String(why))));
    }
    assert.deepEqual([vault.asked, received], [[], 0]);
  });

  for (const [what, address, NO_PROXY] of [
    ['a server that NO_PROXY names', `https://${NAME}:8200`, NAME],
    ['a domain that NO_PROXY names', `https://${NAME}:8200`, 'elsewhere.example, .invalid'],
    ['all that NO_PROXY means by *', `https://${NAME}:8200`, '*'],
    ['loopback, whatever NO_PROXY says', 'https://127.0.0.1:1', ''],
  ] as const) {
    it(`keeps the proxy out of the way to ${what}`, async (t) => {
      await using proxy = await startConnectProxy(1);
      const dir = temporaryFolder(t);
      const config = { providers: vaultProviders(dir, 'hvs.x') };
      const env = { VAULT_ADDR: address, HTTPS_PROXY: proxy.url, NO_PROXY };
      await using plugin = await startPlugin({ dir, config, env });
      await waitUntil('a try of the direct way', READY_MS, () =>
        plugin.log().some(({ why }) => String(why).includes(`cannot reach ${address}`)),
      );
      assert.deepEqual(proxy.tunnels, []);
    });
  }
});

describe("OpenSSL's configuration of the machine", () => {
  /** A test may not change /etc/ssl/openssl.cnf: this variable names another file in its place. */
  for (const [what, text] of [
    ['which is no configuration', 'this is none [\n'],
    [
      'which wants a module for Node that is not there',
      'nodejs_conf = node\n[node]\nproviders = all\n[all]\nmissing = one\n[one]\nactivate = 1\n',
    ],
    [
      'which turns off all algorithms for Node',
      'nodejs_conf = node\n[node]\nalg_section = all\n[all]\ndefault_properties = fips=yes\n',
    ],
  ] as const) {
    it(`does not keep it from serving: one ${what}`, async (t) => {
      const dir = temporaryFolder(t);
      const file = join(dir, 'openssl.cnf');
      writeFileSync(file, text);
      const config = { providers: await localProviders(dir) };
      await using plugin = await startPlugin({ dir, config, env: { OPENSSL_CONF: file } });
      await plugin.ready();
    });
  }
});
