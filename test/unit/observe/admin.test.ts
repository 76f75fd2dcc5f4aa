import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { createAdminServer, MAX_CONNECTIONS } from '../../../src/observe/admin.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';

async function serve(t: TestContext) {
  const clock = createDrivenClock();
  const end = new AbortController();
  let asked = 0;
  let ready = true;
  const server = createAdminServer({
    ...{ clock, signal: end.signal },
    readiness() {
      asked += 1;
      return { ready, detail: { asked } };
    },
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  t.after(() => {
    end.abort();
    server.close();
  });
  const open = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined); // the end of a connection is what is tested
    await once(socket, 'connect');
    return socket;
  };
  /** Everything that is answered until the connection ends. */
  const send = async (request: string): Promise<string> => {
    const socket = await open();
    socket.write(request);
    return await text(socket);
  };
  return {
    ...{ clock, server, open, send },
    asked: () => asked,
    become(now: boolean) {
      ready = now;
    },
  };
}

const request = (path: string, host = 'localhost'): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const statusOf = (answer: string): number => Number(answer.split(' ')[1]);

describe('the admin endpoint', () => {
  it('answers, and closes the connection', async (t) => {
    const { send } = await serve(t);
    const answer = await send(request('/readyz'));
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(answer, /\r\nconnection: close\r\n/);
    assert.deepEqual(JSON.parse(answer.split('\r\n\r\n')[1] ?? ''), { status: 'ok', asked: 1 });
    const head = await send('HEAD /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    assert.match(head, /content-length: 26\r\n[^{]*$/);
  });

  it('computes the first ten answers of a second, and repeats the last of them', async (t) => {
    const { send, clock, asked, become } = await serve(t);
    for (let i = 0; i < 10; i += 1) assert.equal(statusOf(await send(request('/readyz'))), 200);
    become(false);
    for (let i = 0; i < 5; i += 1) assert.equal(statusOf(await send(request('/readyz'))), 200);
    assert.equal(asked(), 10);
    await clock.advance(1_000);
    assert.equal(statusOf(await send(request('/readyz'))), 503);
    assert.equal(asked(), 11);
  });

  it('answers probes as it is, however often somebody else asks', async (t) => {
    const { send, asked } = await serve(t);
    for (const path of ['/readyz', '/livez']) {
      for (let i = 0; i < 300; i += 1) assert.equal(statusOf(await send(request(path))), 200);
    }
    assert.equal(asked(), 10);
  });

  it('answers one request of a connection, however many were sent at once', async (t) => {
    const { open, asked } = await serve(t);
    const socket = await open();
    socket.write(request('/readyz').repeat(1_000));
    const answers = await text(socket).catch(() => 'HTTP/1.1'); // a reset may overtake the answer
    assert.equal(answers.split('HTTP/1.1').length - 1, 1);
    assert.equal(asked(), 1);
  });

  for (const [what, sent, status] of [
    ['a body', 'POST /livez HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc', 400],
    ['a body without an end', 'GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    ['what is not HTTP', 'hello\r\n\r\n', 400],
    ['a header without an end', 'a'.repeat(5_000), 431],
    ['the name of another machine', request('/readyz', 'evil.example'), 421],
    ['the name of another machine for /livez', request('/livez', 'evil.example'), 421],
    ['another method', 'POST /livez HTTP/1.1\r\nHost: localhost\r\n\r\n', 405],
    ['another path', request('/metrics2'), 404],
  ] as const) {
    it(`answers ${status} to ${what}, and closes the connection`, async (t) => {
      const { send, asked } = await serve(t);
      assert.equal(statusOf(await send(sent)), status);
      assert.equal(asked(), 0);
    });
  }

  it('closes a connection that sends nothing for five seconds', async (t) => {
    const { open, clock } = await serve(t);
    const socket = await open();
    socket.write('GET /li');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    while (clock.pending === 0) await settle(); // until the connection is accepted
    await clock.advance(5_000);
    socket.resume();
    await closed;
    assert.equal(clock.pending, 0);
  });

  it('gives the place of the connection that is idle for longest to a new one', async (t) => {
    const { open, send } = await serve(t);
    const idle: Socket[] = [];
    for (let i = 0; i < MAX_CONNECTIONS; i += 1) idle.push(await open());
    const [first, second] = idle;
    assert.ok(first !== undefined && second !== undefined);
    const evicted = new Promise((resolve) => first.resume().once('close', resolve));
    assert.equal(statusOf(await send(request('/livez'))), 200);
    await evicted;
    assert.equal(second.destroyed, false);
    for (const socket of idle) socket.destroy();
  });
});
