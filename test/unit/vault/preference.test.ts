import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fail } from '../../../src/providers/errors.ts';
import { createCircuit } from '../../../src/providers/vault/circuit.ts';
import { createLoginSpacing } from '../../../src/providers/vault/login-spacing.ts';
import { createPace } from '../../../src/providers/vault/pace.ts';
import { createPreference } from '../../../src/providers/vault/preference.ts';
import type { Server } from '../../../src/providers/vault/server.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { UNREACHABLE } from './addresses-under-test.ts';
import { replyOf } from './reply-of.ts';

/** As sys/health says it of an unsealed server that is or is not the active one. */
const reply = (status: number) =>
  replyOf({ what: 'looking', holds: 'health' }, status, { initialized: true, sealed: false });
const OK = reply(200);

function underTest() {
  const clock = createDrivenClock(1_000_000);
  const health = new Map<string, typeof OK | typeof UNREACHABLE>();
  const looks: string[] = [];
  const moves: string[] = [];
  const server = (url: string): Server => ({
    target: { url, ip: undefined },
    circuit: createCircuit(clock),
    pace: createPace(),
    logins: createLoginSpacing(clock),
    connection: {
      async request(request, limitMs) {
        looks.push(url);
        assert.deepEqual([request.method, request.path, limitMs], ['GET', 'sys/health', 2_000]);
        return health.get(url) ?? OK;
      },
      close: async () => undefined,
    },
  });
  let servers: readonly Server[] = ['a', 'b', 'c'].map(server);
  const preference = createPreference({
    clock,
    servers: () => servers,
    moved: ({ target }, why) => void moves.push(`${target.url}: ${why}`),
  });
  const at = (url: string): Server => {
    const found = servers.find(({ target }) => target.url === url);
    assert.ok(found);
    return found;
  };
  return {
    clock,
    health,
    looks,
    moves,
    preference,
    at,
    order: () => preference.choose().order.map(({ target }) => target.url),
    probes: () => preference.choose().probes.map(({ target }) => target.url),
    fails: (...urls: string[]) => {
      for (const url of urls) at(url).circuit.failed(clock.now());
    },
    hangs: async (...urls: string[]) => {
      const since = clock.now();
      await clock.advance(1_000);
      for (const url of urls) at(url).circuit.failed(since);
    },
    replace: (...urls: string[]) => {
      servers = urls.map((url) => servers.find(({ target }) => target.url === url) ?? server(url));
      preference.reset();
    },
  };
}

describe('the order in which servers are asked', () => {
  it('is the order of the configuration at first', () => {
    const { order, moves } = underTest();
    assert.deepEqual(order(), ['a', 'b', 'c']);
    assert.deepEqual(moves, []);
  });

  it('begins with the one that answered last', () => {
    const { order, preference, at, moves } = underTest();
    for (const url of ['c', 'c']) preference.worked(at(url));
    assert.deepEqual(order(), ['c', 'a', 'b']);
    assert.deepEqual(moves, ['c: failover']);
  });

  it('ends with what has just failed at once', () => {
    const { order, fails } = underTest();
    fails('a', 'c');
    assert.deepEqual(order(), ['b', 'a', 'c']);
  });

  it('leaves out what has just hung', async () => {
    const { order, hangs } = underTest();
    await hangs('a', 'c');
    assert.deepEqual(order(), ['b']);
  });

  it('leaves out what has hung where all have failed, and has it asked aside once it is due', async () => {
    const { order, probes, fails, hangs, clock } = underTest();
    await hangs('a');
    fails('b', 'c');
    assert.deepEqual([order(), probes()], [['b', 'c'], []]);
    await clock.advance(1_000);
    assert.deepEqual([order(), probes()], [['b', 'c'], ['a']]);
  });

  it('holds all that have hung where nothing else is left', async () => {
    const { order, probes, hangs } = underTest();
    await hangs('a', 'b', 'c');
    assert.deepEqual([order(), probes()], [['a', 'b', 'c'], []]);
  });

  it('has what has failed and may be tried again after what has not failed', async () => {
    const { order, fails, clock } = underTest();
    fails('a');
    await clock.advance(1_000);
    assert.deepEqual(order(), ['b', 'c', 'a']);
  });

  it('holds all where all have failed, first the one that was left alone for longest', async () => {
    const { order, fails, clock } = underTest();
    for (const url of ['b', 'c', 'a']) {
      fails(url);
      await clock.advance(100);
    }
    assert.deepEqual(order(), ['b', 'c', 'a']);
  });

  it('holds all where all have failed, also those that are to be left alone for longer', async () => {
    const { order, fails, clock, at } = underTest();
    for (let i = 0; i < 4; i += 1) {
      fails('b', 'c');
      await clock.advance(at('b').circuit.openUntil() - clock.now());
    }
    fails('b', 'c');
    fails('a');
    await clock.advance(1_000);
    assert.deepEqual([...order()].sort(), ['a', 'b', 'c']);
  });

  it('does not begin with what has just failed because it failed less often', async () => {
    const { order, fails, clock, at } = underTest();
    for (let i = 0; i < 4; i += 1) {
      fails('b', 'c');
      await clock.advance(at('b').circuit.openUntil() - clock.now());
    }
    fails('b', 'c');
    await clock.advance(100);
    fails('a');
    assert.deepEqual(order(), ['b', 'c', 'a']);
  });

  it('keeps to the one in use where the servers are other ones, unless it is gone', () => {
    const { order, preference, at, replace } = underTest();
    preference.worked(at('b'));
    replace('c', 'b');
    assert.deepEqual(order(), ['b', 'c']);
    replace('c', 'd');
    assert.deepEqual(order(), ['c', 'd']);
    replace();
    assert.deepEqual(order(), []);
  });

  it('never holds one that is gone, though it still answered what it was asked before', () => {
    const { order, preference, at, replace, moves } = underTest();
    const gone = at('a');
    replace('b', 'c');
    preference.worked(gone);
    assert.deepEqual(order(), ['b', 'c']);
    assert.deepEqual(moves, []);
  });
});

describe('a preferred server that is not in use', () => {
  it('is looked at once a minute, each in its turn, and used after two good looks in a row', async () => {
    const { order, preference, at, clock, looks, health, moves } = underTest();
    health.set('a', UNREACHABLE);
    preference.worked(at('c'));
    await clock.advance(59_999);
    assert.deepEqual(looks, []);
    await clock.advance(1);
    assert.deepEqual(looks, ['a']);
    await clock.advance(3 * 60_000);
    assert.deepEqual(looks, ['a', 'b', 'a', 'b']);
    assert.deepEqual(order(), ['b', 'a', 'c']);
    assert.deepEqual(moves, ['c: failover', 'b: preferred again']);
    health.clear();
    await clock.advance(2 * 60_000);
    assert.deepEqual(order(), ['a', 'b', 'c']);
    assert.equal(clock.pending, 0, 'nobody looks where the first is in use');
  });

  for (const [status, good] of [
    [200, true],
    [429, true],
    [473, true],
    [472, false],
    [501, false],
    [503, false],
  ] as const) {
    it(`is ${good ? 'good' : 'not good'} where sys/health answers ${status}`, async () => {
      const { order, preference, at, clock, health, fails } = underTest();
      fails('a');
      preference.worked(at('b'));
      health.set('a', reply(status));
      await clock.advance(2 * 60_000);
      assert.equal(order()[0], good ? 'a' : 'b');
      assert.equal(at('a').circuit.closed(), good);
    });
  }

  it('is not good where a proxy before it answers 429', async () => {
    const { order, preference, at, clock, health } = underTest();
    preference.worked(at('b'));
    health.set('a', fail('throttled', 'not as Vault does'));
    await clock.advance(10 * 60_000);
    assert.equal(order()[0], 'b');
  });

  it('is looked at no more after the end', async () => {
    const { preference, at, clock, looks } = underTest();
    preference.worked(at('b'));
    preference.stop();
    await clock.advance(10 * 60_000);
    assert.deepEqual(looks, []);
    assert.equal(clock.pending, 0);
  });
});
