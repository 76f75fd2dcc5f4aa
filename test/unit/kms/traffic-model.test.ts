/** Traffic under an event loop that is a model: clients that send, turns that read them, and their end. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Connection, nothingCounted } from '../../../src/kms/counted.ts';
import type { Place } from '../../../src/kms/places.ts';
import { createTraffic, type Traffic } from '../../../src/kms/traffic.ts';
import { LIMITS } from '../../../src/limits.ts';
import { randomOf } from '../../robustness/schedule.ts';

type Stream = {
  readonly client: Client;
  /** It is not answered. */
  readonly isSlow: boolean;
  place: Place | undefined;
  begun: boolean;
  /** Undefined until one side has reset it or both have ended it. */
  reset: boolean | undefined;
  bytes: number;
};

type Client = Connection & {
  /** What is to be read of it: the streams that each read opens. */
  readonly sent: number[];
  readonly opened: Set<Stream>;
  isReading: boolean;
  isOpen: boolean;
  /** The turn in which it was read last. */
  readAt: number;
};

/**
 * An event loop that reads from whoever has sent something, in the order in which it may be read. Where
 * clients read what is written late, Node reads on from each of them in the turn in which it was written.
 */
function createLoop({ readsOn = false } = {}) {
  const callbacks: (() => void)[] = [];
  const traffic: Traffic = createTraffic(LIMITS, (callback) => void callbacks.push(callback));
  /** In the order of libuv: one that is read again comes last. */
  const watched = new Set<Client>();
  const clients: Client[] = [];
  const ended: Stream[] = [];
  let turn = 0;

  const watch = (client: Client): void => {
    client.isReading = true;
    watched.add(client);
  };
  const connect = (): Client => {
    const client: Client = {
      ...nothingCounted(),
      ...{ sent: [], opened: new Set(), isReading: true, isOpen: true, readAt: 0 },
      close: () => close(client),
      isUnread: () => false,
      isGone: () => false,
      pause() {
        client.isReading = false;
        watched.delete(client);
      },
      resume() {
        if (client.isOpen) watch(client);
      },
    };
    watched.add(client);
    clients.push(client);
    if (traffic.opened(client) === 'refused') client.isOpen = false;
    return client;
  };
  const close = (client: Client): void => {
    if (!client.isOpen) return;
    client.isOpen = false;
    watched.delete(client);
    for (const stream of client.opened) end(stream, false);
    traffic.closed(client);
  };
  const end = (stream: Stream, reset: boolean): void => {
    if (stream.reset !== undefined) return;
    stream.reset = reset;
    traffic.streamEnded(stream.client, reset);
    if (reset) traffic.frame(stream.client);
    if (!stream.begun && stream.place !== undefined) {
      traffic.placeLeft(stream.client, stream.place);
      stream.place = undefined;
    }
    ended.push(stream);
  };
  const begin = (stream: Stream): boolean => {
    if (stream.reset !== undefined) return false;
    stream.begun = true;
    if (!stream.isSlow) end(stream, false);
    return true;
  };
  const open = (client: Client, isSlow = false, bytes = 0): Stream => {
    const isFromMemory = bytes === 0;
    traffic.frame(client);
    const place = traffic.streamOpened(client, isFromMemory);
    const stream: Stream = { client, isSlow, place, begun: false, reset: undefined, bytes: 0 };
    client.opened.add(stream);
    if (place === undefined && traffic.isFull()) end(stream, true);
    if (bytes > 0 && traffic.keepBytes(client, bytes)) stream.bytes = bytes;
    if (traffic.mayBegin(client)) begin(stream);
    else traffic.beginLater(client, () => begin(stream));
    return stream;
  };
  const turnOver = (): void => {
    turn += 1;
    for (const client of [...watched]) {
      if (!client.isReading || client.sent.length === 0) continue;
      client.readAt = turn;
      const calls = client.sent.shift() ?? 0;
      for (let i = 0; i < calls; i += 1) open(client);
    }
    for (const stream of ended.splice(0)) {
      stream.client.opened.delete(stream);
      traffic.streamClosed(stream.client, stream.place, stream.reset);
      traffic.freeBytes(stream.client, stream.bytes);
    }
    if (readsOn) for (const client of clients) if (client.isOpen) watch(client);
    for (const callback of callbacks.splice(0)) callback();
  };
  return {
    ...{ traffic, connect, close, open, end, turnOver },
    now: () => turn,
    /** Nothing is left for a later turn: an event loop would sleep. */
    isIdle: () => callbacks.length === 0 && ended.length === 0,
  };
}

/** Turns until the client has been read all that it has sent, while others go on. */
function turnsUntil(loop: Loop, condition: () => boolean, others: () => void): number {
  for (let turns = 0; turns < MOST_TURNS; turns += 1) {
    if (condition()) return turns;
    others();
    loop.turnOver();
  }
  return Number.POSITIVE_INFINITY;
}

type Loop = ReturnType<typeof createLoop>;

const MOST_TURNS = 2_000;
const COUNT = 50;
/** Of one read of a connection that sends little. */
const LITTLE = LIMITS.reservedCallsPerConnection - 1;

describe('connections of which each sends little without end', () => {
  /** As many calls of each have begun and are not answered. */
  function setUp(count: number, calls: number) {
    const loop = createLoop();
    const clients = Array.from({ length: count }, loop.connect);
    for (const client of clients) for (let i = 0; i < calls; i += 1) loop.open(client, true);
    for (let i = 0; i < 100; i += 1) loop.turnOver();
    for (const client of clients) client.readAt = loop.now();
    const send = (): void => {
      for (const client of clients) if (client.sent.length === 0) client.sent.push(LITTLE);
    };
    return { loop, clients, send };
  }
  const perTurn = Math.floor(LIMITS.framesPerTurn / LITTLE);
  for (const [what, calls, withinTurns, muchWithin] of [
    ['that are all answered', 0, 3 * (COUNT / perTurn), 10],
    ['while one is not answered', 1, 3 * (COUNT / perTurn), 10],
  ] as const) {
    it(`${what} are read by turns`, () => {
      const { loop, clients, send } = setUp(COUNT, calls);
      let longest = 0;
      for (let i = 0; i < 1_000; i += 1) {
        send();
        loop.turnOver();
        for (const { readAt } of clients) longest = Math.max(longest, loop.now() - readAt);
      }
      assert.ok(longest <= withinTurns, `${longest} turns`);
    });

    it(`${what} keep one that sends much from being read for few turns`, () => {
      const { loop, send } = setUp(COUNT, calls);
      const most = loop.connect();
      most.sent.push(LIMITS.framesPerTurn, 1);
      const turns = turnsUntil(loop, () => most.sent.length === 0, send);
      assert.ok(turns <= muchWithin, `${turns} turns`);
    });

    it(`${what} keep a connection from its beginning for few turns`, () => {
      const { loop, send } = setUp(COUNT, calls);
      for (let i = 0; i < 100; i += 1) {
        send();
        loop.turnOver();
      }
      for (const bytes of [LIMITS.firstBytes, LIMITS.firstBytes + 1]) {
        let hasBegun = false;
        loop.traffic.begin(bytes, () => {
          hasBegun = true;
        });
        const turns = turnsUntil(loop, () => hasBegun, send);
        assert.ok(turns <= 20, `${turns} turns`);
      }
    });
  }
});

describe('connections that begin without end', () => {
  it('keep one that sends much from being read for few turns', () => {
    const loop = createLoop();
    const most = loop.connect();
    most.sent.push(LIMITS.framesPerTurn, 1);
    const turns = turnsUntil(
      loop,
      () => most.sent.length === 0,
      () => loop.traffic.begin(LIMITS.firstBytes + 1, () => undefined),
    );
    assert.ok(turns < 10, `${turns} turns`);
  });
});

describe('one call after many', () => {
  // More would wait for a turn, and nothing that may send much is read before these have begun.
  for (const calls of [1, LIMITS.callsPerTurn]) {
    for (const slow of [0, 1]) {
      it(`does not wait for each of those that have ${calls} and ${slow} that is slow`, () => {
        const loop = createLoop();
        const one = loop.connect();
        one.sent.push(LIMITS.framesPerTurn);
        for (let i = 0; i < 10; i += 1) loop.turnOver();
        const others = Array.from({ length: COUNT }, loop.connect);
        for (const other of others) if (slow > 0) loop.open(other, true);
        const send = (): void => {
          for (const { sent } of others) if (sent.length === 0) sent.push(calls);
        };
        turnsUntil(loop, () => loop.now() > 100, send);
        one.sent.push(1);
        const turns = turnsUntil(loop, () => one.sent.length === 0, send);
        assert.ok(turns <= 40, `${turns} turns`);
      });
    }
  }
});

describe('a connection that sends much', () => {
  it('is read among many that send as much now and then', () => {
    const loop = createLoop();
    const one = loop.connect();
    const others = Array.from({ length: COUNT }, loop.connect);
    let longest = 0;
    for (let i = 0; i < 3_000; i += 1) {
      const other = others[i % COUNT];
      if (other?.sent.length === 0) other.sent.push(LIMITS.framesPerTurn / 2);
      if (one.sent.length === 0) one.sent.push(LIMITS.framesPerTurn / 2);
      loop.turnOver();
      longest = Math.max(longest, loop.now() - one.readAt);
    }
    assert.ok(longest <= 4 * COUNT, `${longest} turns`);
  });
});

describe('a connection that sends little now and then', () => {
  for (const apart of [3, 30, 100]) {
    it(`does not wait for those of which each sends much every ${apart} turns`, () => {
      const loop = createLoop();
      const one = loop.connect();
      const others = Array.from({ length: COUNT }, loop.connect);
      const read = (): number => others.filter(({ sent }) => sent.length === 0).length;
      let waited = 0;
      let asked = 0;
      for (let i = 0; i < 1_500; i += 1) {
        if (i % apart === 0) {
          for (const { sent } of others) if (sent.length === 0) sent.push(LIMITS.framesPerTurn / 2);
        }
        if (i % 7 === 0 && one.sent.length === 0) {
          one.sent.push(1);
          asked += 1;
        }
        const before = read();
        loop.turnOver();
        if (one.sent.length > 0) waited += read() - before;
      }
      // All of them have to be known first.
      assert.ok(waited < COUNT + asked, `for ${waited} reads with ${asked} calls`);
    });
  }
});

describe('no connection waits without a bound', () => {
  /** Calls that each connection of a flood has open and that are not answered, and the calls of each read. */
  for (const [what, slow, calls, count] of [
    ['send little, and have many calls', 3 * LITTLE, LITTLE, 200],
    ['send little, and have as many calls as begin at once', LITTLE, LITTLE, 200],
    ['send little, and have few calls', 1, LITTLE, 200],
    ['send as many calls as begin in a turn', 0, LIMITS.callsPerTurn, COUNT],
    ['send as many as a client may have', 0, LIMITS.callsPerConnection, COUNT],
    ['send as many, beside as many that are slow', LIMITS.callsPerTurn, LIMITS.callsPerTurn, COUNT],
  ] as const) {
    /** A round of all, of which each has the calls of one read and a second one begun, twice. */
    const perRound = Math.ceil((4 * count * Math.max(calls, LITTLE)) / LIMITS.callsPerTurn);
    for (const own of [1, LITTLE, LIMITS.callsPerTurn, LIMITS.callsPerConnection]) {
      it(`one with ${own} calls, among ${count} that ${what}`, () => {
        const loop = createLoop();
        const flood = Array.from({ length: count }, loop.connect);
        for (const one of flood) for (let i = 0; i < slow; i += 1) loop.open(one, true);
        const send = (): void => {
          for (const { sent } of flood) if (sent.length === 0) sent.push(calls);
        };
        turnsUntil(loop, () => loop.now() > 200, send);
        const one = loop.connect();
        let longest = 0;
        for (let round = 0; round < 3; round += 1) {
          one.sent.push(own);
          const isServed = (): boolean => one.sent.length === 0 && one.opened.size === 0;
          longest = Math.max(longest, turnsUntil(loop, isServed, send));
        }
        assert.ok(longest <= perRound + own, `${longest} turns, of ${perRound}`);
      });
    }
  }
});

describe('beside clients that send without end and read late', () => {
  for (const count of [4, 64, 1_000]) {
    for (const calls of [LIMITS.callsPerTurn, LIMITS.callsPerConnection]) {
      const what = `${count} of which each read brings ${calls} calls`;
      function setUp() {
        const loop = createLoop({ readsOn: true });
        const one = loop.connect();
        const flood = Array.from({ length: count }, loop.connect);
        const send = (): void => {
          for (const { sent } of flood) if (sent.length === 0) sent.push(calls);
        };
        // All of them have to be known first.
        turnsUntil(loop, () => flood.every(({ readAt }) => readAt > 0), send);
        return { loop, one, send };
      }

      it(`one call does not wait for those of others: ${what}`, () => {
        const { loop, one, send } = setUp();
        for (const connection of [one, loop.connect()]) {
          for (let i = 0; i < 20; i += 1) {
            connection.sent.push(1);
            const isServed = (): boolean => connection.opened.size === 0;
            const turns = turnsUntil(loop, () => connection.sent.length === 0 && isServed(), send);
            assert.ok(turns <= 4, `${turns} turns`);
          }
        }
      });

      it(`a connection begins after few turns: ${what}`, () => {
        const { loop, send } = setUp();
        for (let i = 0; i < 20; i += 1) {
          let hasBegun = false;
          loop.traffic.begin(LIMITS.firstBytes, () => {
            hasBegun = true;
          });
          const turns = turnsUntil(loop, () => hasBegun, send);
          assert.ok(turns <= 3, `${turns} turns`);
        }
      });
    }
  }
});

describe('whatever happens in any order', () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    it(`nothing is counted of what has ended, and nothing runs without end: seed ${seed}`, () => {
      const random = randomOf(seed);
      const upTo = (most: number): number => Math.floor(random() * most);
      const loop = createLoop();
      const clients: Client[] = [];
      const streams: Stream[] = [];
      let beginning = 0;
      const some = <T>(of: readonly T[]): T | undefined => of[upTo(of.length)];
      const actions = [
        () => clients.length < 40 && clients.push(loop.connect()),
        () => some(clients)?.sent.push(upTo(4) === 0 ? upTo(1_500) : upTo(20)),
        () => {
          const client = some(clients);
          if (client === undefined) return;
          for (let i = upTo(40); i > 0; i -= 1) {
            streams.push(loop.open(client, upTo(2) === 0, upTo(3) * upTo(LIMITS.messageBytes)));
          }
        },
        () => {
          for (let i = upTo(60); i > 0; i -= 1) {
            const stream = some(streams);
            if (stream !== undefined) loop.end(stream, upTo(2) === 0);
          }
        },
        () => {
          beginning += 1;
          loop.traffic.begin(upTo(2 * LIMITS.firstBytes), () => {
            beginning -= 1;
          });
        },
        () => {
          const client = clients.splice(upTo(clients.length), 1)[0];
          if (upTo(10) === 0 && client !== undefined) loop.close(client);
          else if (client !== undefined) clients.push(client);
        },
        loop.turnOver,
      ];
      for (let i = 0; i < 1_000; i += 1) some(actions)?.();
      // What is sent is read, also while calls stay open.
      const isRead = (): boolean => clients.every(({ sent }) => sent.length === 0);
      const turns = turnsUntil(
        loop,
        () => isRead() && beginning === 0,
        () => undefined,
      );
      assert.ok(turns < MOST_TURNS, `${turns} turns`);
      for (const client of clients) loop.close(client);
      const all = turnsUntil(loop, loop.isIdle, () => undefined);
      assert.ok(all < 100, `${all} turns`);
      assert.deepEqual(loop.traffic.open(), { connections: 0, calls: 0, streams: 0, bytes: 0 });
      for (const { calls, streams, healthChecks, bytes } of clients) {
        assert.deepEqual([calls, streams, healthChecks, bytes], [0, 0, 0, 0]);
      }
    });
  }
});
