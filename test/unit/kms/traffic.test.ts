import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Connection, createTraffic, type TrafficLimits } from '../../../src/kms/traffic.ts';

const LIMITS: TrafficLimits = {
  connections: 3,
  calls: 10,
  callsPerConnection: 100,
  reservedCalls: 4,
  reservedCallsPerConnection: 2,
  messageBytesOfAll: 100,
  reservedBytes: 20,
  reservedBytesPerConnection: 10,
  framesPerTurn: 5,
  endingStreams: 5,
};

type Seen = Connection & { readonly did: string[] };

function connection(name = ''): Seen {
  const did: string[] = [];
  const note = (what: string) => (): void => void did.push(`${name}${what}`);
  return {
    ...{ calls: 0, streams: 0, healthChecks: 0, bytes: 0, frames: 0, turn: -1, did },
    ...{ close: note('closed'), pause: note('paused'), resume: note('resumed') },
  };
}

/** Traffic whose turns of the event loop the test ends. */
function traffic() {
  const turns: (() => void)[] = [];
  const counted = createTraffic(LIMITS, (callback) => void turns.push(callback));
  return { ...counted, endTurn: (): void => turns.splice(0).forEach((end) => void end()) };
}

describe('connections beyond the limit', () => {
  it('take the place of the one that has been without a call for the longest', () => {
    const { opened, streamOpened, streamClosed } = traffic();
    const [first, second, third, fourth, fifth] = ['1', '2', '3', '4', '5'].map(connection);
    assert.ok(first && second && third && fourth && fifth);
    for (const one of [first, second, third]) assert.equal(opened(one), 'counted');
    streamOpened(first);
    streamClosed(first, 'call');
    assert.equal(opened(fourth), 'replaced');
    assert.equal(opened(fifth), 'replaced');
    assert.deepEqual(
      [first, second, third, fourth].map(({ did }) => did.join()),
      ['', '2closed', '3closed', ''],
    );
  });

  it('are refused where each other one has a call', () => {
    const { opened, streamOpened, closed } = traffic();
    const others = ['1', '2', '3'].map(connection);
    for (const one of others) {
      opened(one);
      streamOpened(one);
    }
    assert.equal(opened(connection()), 'refused');
    for (const one of others) assert.deepEqual(one.did, []);
    const [first] = others;
    assert.ok(first);
    closed(first);
    assert.equal(opened(connection()), 'counted');
  });
});

describe('calls beyond the limit', () => {
  it('are refused to a connection that has many, while one that has few has places left', () => {
    const { opened, streamOpened, streamClosed, open } = traffic();
    const [greedy, modest, other] = ['1', '2', '3'].map(connection);
    assert.ok(greedy && modest && other);
    for (const one of [greedy, modest, other]) opened(one);
    const admitted = Array.from({ length: 20 }, () => streamOpened(greedy));
    assert.equal(admitted.filter(Boolean).length, LIMITS.calls - LIMITS.reservedCalls);
    for (const one of [modest, other]) {
      assert.deepEqual(
        [streamOpened(one), streamOpened(one), streamOpened(one)],
        ['call', 'call', undefined],
      );
    }
    assert.equal(open().calls, LIMITS.calls);
    streamClosed(greedy, 'call');
    assert.equal(streamOpened(greedy), undefined);
    streamClosed(modest, 'call');
    assert.equal(streamOpened(modest), 'call');
  });

  it('have few more places for each connection where they are answered from memory', () => {
    const { opened, streamOpened, streamClosed, open } = traffic();
    const [greedy, modest, other] = ['1', '2', '3'].map(connection);
    assert.ok(greedy && modest && other);
    for (const one of [greedy, modest, other]) opened(one);
    const placesOf = (one: Connection, fromMemory: boolean) =>
      Array.from({ length: 20 }, () => streamOpened(one, fromMemory)).filter(Boolean);
    assert.deepEqual(placesOf(greedy, true), [
      ...Array(LIMITS.calls - LIMITS.reservedCalls).fill('call'),
      ...['health check', 'health check'],
    ]);
    assert.deepEqual(placesOf(modest, false), ['call', 'call']);
    assert.deepEqual(placesOf(modest, true), ['health check', 'health check']);
    assert.deepEqual(placesOf(other, true), ['call', 'call']);
    assert.equal(open().calls, LIMITS.calls + LIMITS.reservedCalls);
    streamClosed(greedy, 'health check');
    assert.deepEqual(placesOf(other, true), ['health check']);
  });
});

describe('streams of one connection beyond its limit', () => {
  it('are refused until others have ended, although their calls have not been cleared away', () => {
    const limits = { ...LIMITS, callsPerConnection: 3 };
    const { opened, streamOpened, streamEnded } = createTraffic(limits, () => undefined);
    const one = connection();
    opened(one);
    const places = (): number =>
      Array.from({ length: 3 }, () => streamOpened(one)).filter(Boolean).length;
    assert.equal(places(), 3);
    assert.equal(places(), 0);
    for (let i = 0; i < 6; i += 1) streamEnded(one);
    assert.equal(places(), 3);
  });
});

describe('bytes of messages beyond the limit', () => {
  it('are refused until as many have been freed', () => {
    const { keepBytes, freeBytes } = traffic();
    const one = connection();
    assert.equal(keepBytes(one, 60), true);
    assert.equal(keepBytes(one, 21), false);
    assert.equal(keepBytes(one, 20), true);
    assert.equal(keepBytes(one, 1), false);
    freeBytes(one, 60);
    assert.equal(keepBytes(one, 60), true);
  });

  it('leave some for connections that have few of them', () => {
    const { keepBytes, freeBytes, open } = traffic();
    const [greedy, modest, other] = ['1', '2', '3'].map(connection);
    assert.ok(greedy && modest && other);
    assert.equal(keepBytes(greedy, 80), true);
    assert.deepEqual(
      [modest, modest, modest, other, other].map((one) => keepBytes(one, 5)),
      [true, true, false, true, true],
    );
    assert.equal(open().bytes, LIMITS.messageBytesOfAll);
    assert.equal(keepBytes(connection(), 1), false);
    freeBytes(other, 5);
    assert.equal(keepBytes(modest, 5), false);
    assert.equal(keepBytes(other, 5), true);
  });
});

describe('a connection that has had its share of a turn', () => {
  it('is not read until the next turn, and the others are', () => {
    const { frame, endTurn } = traffic();
    const [greedy, modest] = ['', ''].map(connection);
    assert.ok(greedy && modest);
    for (let i = 0; i < 3 * LIMITS.framesPerTurn; i += 1) frame(greedy);
    frame(modest);
    assert.deepEqual([greedy.did, modest.did], [['paused'], []]);
    endTurn();
    assert.deepEqual(greedy.did, ['paused', 'resumed']);
    for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(greedy);
    assert.deepEqual(greedy.did, ['paused', 'resumed', 'paused']);
  });

  it('is not read again where it has closed', () => {
    const { opened, closed, frame, endTurn } = traffic();
    const greedy = connection();
    opened(greedy);
    for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(greedy);
    closed(greedy);
    endTurn();
    assert.deepEqual(greedy.did, ['paused']);
  });
});
