import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { always, createDispatcher } from '../../../src/providers/vault/dispatcher.ts';
import { createNames } from '../../../src/providers/vault/names.ts';
import { systemClock } from '../../../src/system/clock.ts';

type Answer = readonly [error: Error | null, address: unknown, family: unknown];

/** What a connection is told that looks the name up so. */
const lookedUp = (ip: string, options: { all?: boolean }): Promise<Answer> =>
  new Promise((resolve) => {
    always(ip)('vault.example', options, (...answer) =>
      resolve([answer[0], answer[1], answer[2]] as const),
    );
  });

describe('a server that is one of several addresses of a name', () => {
  for (const [ip, family] of [
    ['10.0.0.1', 4],
    ['fd00::1', 6],
    ['::ffff:10.0.0.1', 6],
  ] as const) {
    it(`is connected to at ${ip}, whichever way Node asks`, async () => {
      assert.deepEqual(await lookedUp(ip, {}), [null, ip, family]);
      const list = [{ address: ip, family }];
      assert.deepEqual(await lookedUp(ip, { all: true }), [null, list, undefined]);
    });
  }

  it('is reached without DNS, and asked by its name', async (t) => {
    const server = createServer((request, response) => response.end(request.headers.host));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const { port } = server.address() as AddressInfo;
    const url = `http://vault.invalid:${port}`;
    const dispatcher = createDispatcher({
      target: { url, ip: '127.0.0.1' },
      config: { tls: {}, requestTimeout: 2_000 },
      env: {},
      tls: {},
      names: createNames(async () => [], systemClock),
      clock: systemClock,
    });
    t.after(() => dispatcher.close());
    const { body } = await dispatcher.request({ origin: url, method: 'GET', path: '/' });
    assert.equal(await body.text(), `vault.invalid:${port}`);
  });
});
