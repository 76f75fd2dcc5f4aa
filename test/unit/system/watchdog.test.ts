import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Method } from '../../../src/kms/method.ts';
import { createKmsServer } from '../../../src/kms/server.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { systemClock } from '../../../src/system/clock.ts';
import {
  type Probe,
  type Pulse,
  socketProbe,
  startWatchdog,
  watchdogLimit,
} from '../../../src/system/watchdog.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const ALIVE: Pulse = { kind: 'alive' };
const DEAD: Pulse = { kind: 'dead', why: 'no answer' };
const UNKNOWN: Pulse = { kind: 'unknown', why: 'EACCES' };

function watched(probe: Probe) {
  const clock = createDrivenClock();
  const fed: number[] = [];
  const pulses: string[] = [];
  const watchdog = startWatchdog({
    ...{ limitMs: 16_000, probe, clock },
    feed: () => void fed.push(clock.now()),
    changed: ({ kind }) => void pulses.push(kind),
  });
  return { watchdog, clock, fed, pulses };
}

describe('the watchdog', () => {
  for (const [env, limit] of [
    [{}, undefined],
    [{ WATCHDOG_USEC: '20000000' }, 20_000],
    [{ WATCHDOG_USEC: '20000000', WATCHDOG_PID: '7' }, 20_000],
    [{ WATCHDOG_USEC: '20000000', WATCHDOG_PID: '8' }, undefined],
    [{ WATCHDOG_USEC: '0' }, undefined],
    [{ WATCHDOG_USEC: 'soon' }, undefined],
  ] as const) {
    it(`of process 7 with ${JSON.stringify(env)} has ${limit ?? 'no'} ms`, () => {
      assert.equal(watchdogLimit(env, 7), limit);
    });
  }

  it('is fed at once and then at each quarter of the time, after a proof each', async () => {
    let probes = 0;
    const { clock, fed, pulses, watchdog } = watched(async (withinMs) => {
      assert.equal(withinMs, 2_000);
      probes += 1;
      return ALIVE;
    });
    await clock.advance(12_000);
    watchdog.stop();
    assert.deepEqual([fed, probes, pulses], [[0, 4_000, 8_000, 12_000], 4, []]);
    assert.equal(clock.pending, 0);
  });

  it('is not fed while the socket is dead, and again as soon as it answers', async () => {
    let pulse: Pulse = ALIVE;
    const { clock, fed, pulses, watchdog } = watched(async () => pulse);
    await clock.advance(0);
    pulse = DEAD;
    await clock.advance(8_000);
    assert.deepEqual([fed, pulses], [[0], ['dead']]);
    pulse = ALIVE;
    await clock.advance(1_000);
    watchdog.stop();
    assert.deepEqual([fed.slice(1), pulses], [[9_000], ['dead', 'alive']]);
  });

  it('counts the time of a proof, so that a slow one does not delay the next feeding', async () => {
    const sleeping = Promise.withResolvers<(ms: number) => Promise<void>>();
    const { clock, fed, watchdog } = watched(async () => {
      await sleeping.promise.then((sleep) => sleep(1_500));
      return ALIVE;
    });
    sleeping.resolve((ms) => new Promise((resolve) => void clock.setTimer(ms, resolve)));
    await clock.advance(30_000);
    watchdog.stop();
    assert.deepEqual(fed.slice(0, 3), [1_500, 5_500, 9_500]);
  });

  it('is fed where a restart would change nothing, and says so', async () => {
    const { clock, fed, pulses, watchdog } = watched(async () => UNKNOWN);
    await clock.advance(4_000);
    watchdog.stop();
    assert.deepEqual([fed, pulses], [[0, 4_000], ['unknown']]);
  });

  it('is not fed any more once it was stopped, even by a proof under way', async () => {
    const proof = Promise.withResolvers<Pulse>();
    const { clock, fed, watchdog } = watched(() => proof.promise);
    watchdog.stop();
    proof.resolve(ALIVE);
    await clock.advance(60_000);
    assert.deepEqual([fed, clock.pending], [[], 0]);
  });
});

const LONG_MS = 10_000;
const NOT_SENT = { reply: { ok: true, message: new Uint8Array() } } as const;
const GRPC = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
/** The watchdog's own call, as a method that hangs until its caller goes away. */
const hanging: Method = {
  path: '/trousseau.Watchdog/Probe',
  call: {
    remote: (_request, { signal }) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve(NOT_SENT))),
  },
};
const SHORT_MS = 50;

async function listening(t: TestContext, onSocket: (socket: Socket) => void) {
  const path = join(temporaryFolder(t), 'kms.sock');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { path, server };
}

function proof(path: string, lost?: string, isFull = false, answered = () => 0): Probe {
  const spare = { lend: <T>(work: () => Promise<T>) => work(), close: () => undefined };
  return socketProbe({ path: () => path, lost: () => lost, isFull: () => isFull, answered, spare });
}

describe('the proof that a socket answers', () => {
  it('is an answer of the gRPC server behind it', async (t) => {
    const kms = createKmsServer([], { log: silentLog, clock: systemClock });
    const { path } = await listening(t, kms.accept);
    t.after(() => kms.drain(0));
    for (let i = 0; i < 3; i += 1) assert.deepEqual(await proof(path)(LONG_MS), { kind: 'alive' });
  });

  it('is not that something accepts: it must answer in time', async (t) => {
    const { path } = await listening(t, () => undefined);
    const pulse = await proof(path)(SHORT_MS);
    assert.ok(pulse.kind === 'dead');
    assert.match(pulse.why, /kms\.sock: no answer within 50 ms/);
  });

  it('cannot be made where other new connections have an answer before it: the process serves, slowly', async (t) => {
    const { path } = await listening(t, () => undefined);
    let answered = 7;
    const pulse = await proof(path, undefined, false, () => answered++)(SHORT_MS);
    assert.ok(pulse.kind === 'unknown');
    assert.match(
      pulse.why,
      /no answer within 50 ms; other new connections were answered meanwhile/,
    );
  });

  it('fails where connections are taken, its own and others, and no call is answered', async (t) => {
    const kms = createKmsServer([hanging], { log: silentLog, clock: systemClock });
    const { path } = await listening(t, kms.accept);
    t.after(() => kms.drain(0));
    const other = proof(path)(SHORT_MS);
    const pulse = await proof(path, undefined, false, kms.answered)(SHORT_MS);
    assert.equal(pulse.kind, 'dead');
    assert.equal((await other).kind, 'dead');
  });

  it('counts each connection with its first answer, whatever that is, and none without', async (t) => {
    const kms = createKmsServer([hanging], { log: silentLog, clock: systemClock });
    const { path } = await listening(t, kms.accept);
    t.after(() => kms.drain(0));
    const silent = connect(path);
    t.after(() => silent.destroy());
    await once(silent, 'data');
    await proof(path)(SHORT_MS);
    assert.equal(kms.answered(), 0);
    const session = connectHttp2('http://localhost', { createConnection: () => connect(path) });
    t.after(() => session.destroy());
    for (const call of ['/no.Service/Method', '/no.Service/Other']) {
      const request = session.request({ ...GRPC, ':path': call });
      const ended = once(request.resume(), 'end');
      request.end(Buffer.alloc(5));
      await ended;
      assert.equal(kms.answered(), 1);
    }
  });

  it('fails where the connection is cut off', async (t) => {
    const { path } = await listening(t, (socket) => socket.destroy());
    assert.equal((await proof(path)(LONG_MS)).kind, 'dead');
  });

  it('cannot be made where no other connection is taken: a restart would end those that are served', async (t) => {
    const { path } = await listening(t, (socket) => socket.destroy());
    const pulse = await proof(path, undefined, true)(LONG_MS);
    assert.ok(pulse.kind === 'unknown');
    assert.match(
      pulse.why,
      /kms\.sock: (cut off|ECONNRESET|EPIPE); each connection that it may have makes a call/,
    );
  });

  it('fails where no other connection is taken and nothing is answered either', async (t) => {
    const { path } = await listening(t, () => undefined);
    assert.equal((await proof(path, undefined, true)(SHORT_MS)).kind, 'dead');
  });

  it('fails where nobody listens, whoever made the socket', async (t) => {
    const { path, server } = await listening(t, () => undefined);
    const away = join(path, '../away.sock');
    server.close();
    rmSync(path, { force: true });
    assert.deepEqual(await proof(away)(LONG_MS), {
      kind: 'dead',
      why: `${away}: ENOENT`,
    });
  });

  it('cannot be made where the path is known to be lost: a restart would end what is still served', async (t) => {
    const away = join(temporaryFolder(t), 'away.sock');
    assert.deepEqual(await proof(away, 'it was removed')(LONG_MS), {
      kind: 'unknown',
      why: 'it was removed',
    });
  });
});
