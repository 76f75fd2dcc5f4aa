import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { createDispatcher, type TlsMaterial } from '../../../src/providers/vault/dispatcher.ts';
import { createVaultConnection, type VaultConnection } from '../../../src/providers/vault/http.ts';
import { createNames, type Lookup } from '../../../src/providers/vault/names.ts';
import type { VaultRequest } from '../../../src/providers/vault/reply.ts';
import { createDrivenClock, type DrivenClock } from '../driven-clock.ts';
import { startFakeProxy } from './fake-proxy.ts';
import { startFakeVault } from './fake-vault.ts';

const HEALTH: VaultRequest = { method: 'GET', path: 'x', what: 'asking', holds: 'nothing' };

type Way = {
  readonly url: string;
  readonly proxy?: string;
  readonly lookup?: Lookup;
  readonly tls?: TlsMaterial;
};

/** One server, and how to ask it. */
function connectionTo(
  t: TestContext,
  { url, proxy, lookup = async () => ['127.0.0.1'], tls = {} }: Way,
): { connection: VaultConnection; clock: DrivenClock; ask: () => Promise<string> } {
  const clock = createDrivenClock(1_800_000_000_000);
  const connection = createVaultConnection({
    target: { url, ip: undefined },
    config: { tls: {}, requestTimeout: 2_000, ...(proxy === undefined ? {} : { proxy }) },
    env: {},
    tls,
    names: createNames(lookup, clock),
    clock,
    mayRetry: () => true,
    open: createDispatcher,
  });
  t.after(() => connection.close());
  const ask = async (): Promise<string> => {
    const result = await connection.request(HEALTH, 60_000, new AbortController().signal);
    return result.ok ? 'answered' : result.error.message;
  };
  return { connection, clock, ask };
}

/** Plain http to this host is not proxied, so that the server behind has a name. */
const named = (address: string): string => address.replace('127.0.0.1', 'localhost.example');

describe('a proxy before Vault', () => {
  it('opens the way, is asked by name, and gets user and password', async (t) => {
    const vault = await startFakeVault(t);
    const proxy = await startFakeProxy(t);
    const { port } = new URL(vault.address);
    const url = proxy.url.replace('//', '//user:50%25@');
    const { ask } = connectionTo(t, { url: `http://0.0.0.0:${port}`, proxy: url });
    for (let i = 0; i < 5; i += 1) assert.equal(await ask(), 'answered');
    // Of two connections that are open undici takes one after the other.
    assert.ok(proxy.asked.length <= 2, 'the way stays open');
    const [head = ''] = proxy.asked;
    assert.match(head, new RegExp(`^CONNECT 0\\.0\\.0\\.0:${port} HTTP/1\\.1\\r\\n`));
    const [, login = ''] = /proxy-authorization: Basic (.*)\r\n/i.exec(head) ?? [];
    assert.equal(Buffer.from(login, 'base64').toString(), 'user:50%');
  });

  it('takes a stray % in its password as it is', async (t) => {
    const vault = await startFakeVault(t);
    const proxy = await startFakeProxy(t);
    const url = proxy.url.replace('//', '//user:50%@');
    const { ask } = connectionTo(t, {
      url: vault.address.replace('127.0.0.1', '0.0.0.0'),
      proxy: url,
    });
    assert.equal(await ask(), 'answered');
    const [, login = ''] = /proxy-authorization: Basic (.*)\r\n/i.exec(proxy.asked[0] ?? '') ?? [];
    assert.equal(Buffer.from(login, 'base64').toString(), 'user:50%');
  });

  for (const [status, advice] of [
    [403, /its rules/],
    [407, /user and the password/],
    [503, /cannot reach that address/],
    [400, /is it an HTTP proxy/],
  ] as const) {
    it(`that answers ${status} is named, with its answer and what to do`, async (t) => {
      const proxy = await startFakeProxy(t);
      proxy.answer = `HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`;
      const url = proxy.url.replace('//', '//user:secret@');
      const { ask } = connectionTo(t, { url: 'http://vault.example:8200', proxy: url });
      const message = await ask();
      assert.ok(message.includes(`through the proxy ${proxy.url}`), message);
      assert.ok(message.includes(`answers ${status} to CONNECT`), message);
      assert.match(message, advice);
      assert.doesNotMatch(message, /secret/);
    });
  }

  it('that hangs is named, and its connections end with their time', async (t) => {
    const proxy = await startFakeProxy(t);
    proxy.answer = 'silence';
    const { ask, clock } = connectionTo(t, {
      url: 'http://vault.example:8200',
      proxy: proxy.url,
    });
    for (let i = 0; i < 3; i += 1) {
      const asked = ask();
      await proxy.next();
      const [socket] = proxy.open;
      assert.ok(socket);
      const closed = once(socket, 'close');
      await clock.advance(2_000);
      assert.match(await asked, /the proxy http:\/\/127\.0\.0\.1:\d+ does not answer in time/);
      await closed;
      assert.equal(proxy.open.size, 0);
    }
    assert.equal(clock.pending, 0);
  });

  for (const [what, opened] of [
    ['closes', 'HTTP/1.1 200 OK\r\n\r\n'],
    ['speaks', 'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n'],
  ] as const) {
    it(`that opens the way and then ${what} is named`, async (t) => {
      const proxy = await startFakeProxy(t);
      proxy.answer = opened;
      const { ask, clock } = connectionTo(t, { url: 'https://vault.example', proxy: proxy.url });
      assert.match(await ask(), /cannot reach .* through the proxy http:\/\/127\.0\.0\.1:\d+: /);
      assert.equal(clock.pending, 0);
    });
  }

  for (const [scheme, answer, said] of [
    [
      'https',
      'HTTP/1.1 400 Bad Request\r\n\r\n',
      // Deno has the code of OpenSSL for it.
      /(EPROTO: TLS with it fails: does it speak|NUMBER: it does not speak TLS there: is it) http/,
    ],
    ['http', '\x15\x03\x03\0\x02\x02\x46', /HPE_\w+: it does not speak HTTP there: is it https\?/],
  ] as const) {
    it(`that does not speak ${scheme} is named, with the question whether it is the other one`, async (t) => {
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy()).once('data', () => socket.end(answer, 'latin1'));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => server.close());
      const proxy = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const { ask } = connectionTo(t, { url: 'http://vault.example:8200', proxy });
      const message = await ask();
      assert.ok(message.includes(`through the proxy ${proxy}`), message);
      assert.match(message, said);
    });
  }

  it('that closes the connection is named', async (t) => {
    const proxy = await startFakeProxy(t);
    proxy.answer = '';
    const { ask } = connectionTo(t, { url: 'http://vault.example:8200', proxy: proxy.url });
    assert.match(await ask(), /through the proxy .*ECONNRESET/);
  });

  it('is not asked for what may go in clear because it stays on this host', async (t) => {
    const vault = await startFakeVault(t);
    const proxy = await startFakeProxy(t);
    const { ask } = connectionTo(t, { url: vault.address, proxy: proxy.url });
    assert.equal(await ask(), 'answered');
    assert.deepEqual(proxy.asked, []);
  });
});

describe('a name that DNS has no answer for any more', () => {
  it('keeps the address that it had last', async (t) => {
    const vault = await startFakeVault(t);
    let dns: 'well' | 'away' | 'silent' = 'well';
    const lookup: Lookup = async () => {
      if (dns === 'silent') await new Promise(() => undefined);
      if (dns === 'away') throw Object.assign(new Error('x'), { code: 'EAI_AGAIN' });
      return ['127.0.0.1'];
    };
    const { ask, clock } = connectionTo(t, { url: named(vault.address), lookup });
    assert.equal(await ask(), 'answered');
    for (dns of ['away', 'silent'] as const) {
      // Every connection is cut.
      vault.cut();
      const asked = ask();
      await clock.advance(1_000);
      assert.equal(await asked, 'answered');
    }
  });

  it('is said where it never had one', async (t) => {
    const lookup: Lookup = async () => {
      throw Object.assign(new Error('x'), { code: 'ENOTFOUND' });
    };
    const { ask } = connectionTo(t, { url: 'http://vault.example:8200', lookup });
    assert.match(await ask(), /ENOTFOUND: the name is not in DNS/);
  });

  it('is looked up once at a time, however many connections want it', async () => {
    let lookups = 0;
    const answer = Promise.withResolvers<readonly string[]>();
    const names = createNames(() => {
      lookups += 1;
      return answer.promise;
    }, createDrivenClock());
    const found = Array.from(
      { length: 8 },
      () =>
        new Promise((resolve) => {
          names.forConnections('vault.example', { all: true }, (_error, list) => resolve(list));
        }),
    );
    answer.resolve(['10.0.0.1', 'fd00::1']);
    for (const list of await Promise.all(found)) {
      assert.deepEqual(list, [
        { address: '10.0.0.1', family: 4 },
        { address: 'fd00::1', family: 6 },
      ]);
    }
    assert.equal(lookups, 1);
  });
});

describe('a server that takes longer than a connection may', () => {
  it('is left, and nothing stays open', async (t) => {
    const { promise, resolve } = Promise.withResolvers<{ closed: Promise<unknown> }>();
    // It accepts, and never answers the TLS handshake.
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.resume();
      resolve({ closed: once(socket, 'close') });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const { port } = server.address() as AddressInfo;
    const { ask, clock } = connectionTo(t, { url: `https://vault.example:${port}` });
    const asked = ask();
    const { closed } = await promise;
    await clock.advance(2_000);
    assert.match(await asked, /no connection in time/);
    await closed;
    assert.equal(clock.pending, 0);
  });
});
