import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Connection, createTraffic, type TrafficLimits } from '../../../src/kms/traffic.ts';

const LIMITS: TrafficLimits = {
  connections: 3,
  calls: 10,
  reservedCalls: 4,
  reservedCallsPerConnection: 2,
  messageBytesOfAll: 100,
  framesPerTurn: 5,
  endingStreams: 5,
};

type Seen = Connection & { readonly did: string[] };

function connection(name = ''): Seen {
  const did: string[] = [];
  const note = (what: string) => (): void => void did.push(`${name}${what}`);
  return {
    ...{ calls: 0, frames: 0, turn: -1, did },
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
    streamClosed(first, true);
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
        [true, true, false],
      );
    }
    assert.equal(open().calls, LIMITS.calls);
    const health = Array.from({ length: 9 }, () => streamOpened(other, true));
    assert.equal(health.filter(Boolean).length, LIMITS.reservedCalls);
    for (const admitted of health) if (admitted) streamClosed(other, true);
    streamClosed(greedy, true);
    assert.equal(streamOpened(greedy), false);
    streamClosed(modest, true);
    assert.equal(streamOpened(modest), true);
  });
});

describe('bytes of messages beyond the limit', () => {
  it('are refused until as many have been freed', () => {
    const { keepBytes, freeBytes } = traffic();
    assert.equal(keepBytes(60), true);
    assert.equal(keepBytes(41), false);
    assert.equal(keepBytes(40), true);
    assert.equal(keepBytes(1), false);
    freeBytes(60);
    assert.equal(keepBytes(60), true);
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
