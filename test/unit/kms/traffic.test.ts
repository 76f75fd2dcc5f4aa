import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Connection, nothingCounted } from '../../../src/kms/counted.ts';
import { createTraffic, type TrafficLimits } from '../../../src/kms/traffic.ts';

const LIMITS: TrafficLimits = {
  connections: 3,
  calls: 10,
  streamsPerConnection: 100,
  reservedCalls: 4,
  reservedCallsPerConnection: 2,
  messageBytesOfAll: 100,
  reservedBytes: 20,
  reservedBytesPerConnection: 10,
  framesPerTurn: 5,
  frameBytes: 100,
  callsPerTurn: 3,
  sessionFrames: 2,
  firstBytes: 100,
  endingStreams: 5,
};

type Seen = Connection & { readonly did: string[] };

function connection(name = ''): Seen {
  const did: string[] = [];
  /** What is done twice counts once: a connection is paused again in each turn. */
  const note = (what: string) => (): void => {
    if (did.at(-1) !== `${name}${what}`) did.push(`${name}${what}`);
  };
  return {
    ...nothingCounted(),
    did,
    ...{
      close: note('closed'),
      isUnread: () => false,
      isGone: () => false,
      pause: note('paused'),
      resume: note('resumed'),
    },
  };
}

/** Traffic whose turns of the event loop the test ends. */
function traffic(limits = LIMITS) {
  const turns: (() => void)[] = [];
  const counted = createTraffic(limits, (callback) => void turns.push(callback));
  const go = (): void => turns.splice(0).forEach((end) => void end());
  /** A turn for those that sent little, and one for all. */
  const endTurn = (): void => {
    go();
    go();
  };
  return { ...counted, go, endTurn };
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
    const limits = { ...LIMITS, streamsPerConnection: 3 };
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

describe('frames beyond those of a turn', () => {
  const three = (): readonly [Seen, Seen, Seen] => [
    connection('1'),
    connection('2'),
    connection('3'),
  ];

  it('are not read in it, of any connection, and each is read in the next one', () => {
    const { opened, frame, endTurn } = traffic();
    const all = three();
    for (const one of all) opened(one);
    for (let i = 0; i < 3 * LIMITS.framesPerTurn; i += 1) frame(all[0]);
    assert.deepEqual(
      all.map(({ did }) => did),
      [['1paused'], ['2paused'], ['3paused']],
    );
    endTurn();
    assert.deepEqual(
      all.map(({ did }) => did.slice(1)),
      [['1resumed'], ['2resumed'], ['3resumed']],
    );
    for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(all[0]);
    assert.deepEqual(all[0].did.slice(2), ['1paused']);
  });

  it('are read of one connection after the other where each sends as many, and at once of others', () => {
    const { opened, frame, endTurn } = traffic();
    const [first, second, modest] = three();
    const all = [first, second, modest];
    for (const one of all) opened(one);
    const resumed = (): string[] => {
      for (const one of all) one.did.length = 0;
      endTurn();
      return all.flatMap(({ did }) => did.filter((what) => what.endsWith('resumed')));
    };
    for (const greedy of [first, second]) {
      for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(greedy);
    }
    frame(modest);
    assert.deepEqual(resumed(), ['1resumed', '3resumed']);
    for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(first);
    assert.deepEqual(resumed(), ['2resumed', '3resumed']);
    for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(second);
    assert.deepEqual(resumed(), ['1resumed', '3resumed']);
  });

  it('are not read although Node has read on after a write', () => {
    const { opened, frame, endTurn } = traffic();
    const [first, second] = three();
    for (const one of [first, second]) opened(one);
    for (const greedy of [first, second]) {
      for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(greedy);
    }
    second.did.length = 0;
    endTurn();
    assert.deepEqual(second.did, ['2paused']);
  });

  it('are fewer where they have many bytes', () => {
    const { opened, frame } = traffic();
    const [greedy] = three();
    opened(greedy);
    for (const bytes of [99, 99, LIMITS.frameBytes]) frame(greedy, bytes);
    assert.deepEqual(greedy.did, []);
    frame(greedy, 0);
    assert.deepEqual(greedy.did, ['1paused']);
  });

  it('are not read of a connection that has closed', () => {
    const { opened, closed, frame, endTurn } = traffic();
    const [greedy] = three();
    opened(greedy);
    for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(greedy);
    closed(greedy);
    endTurn();
    assert.deepEqual(greedy.did, ['1paused']);
  });
});

describe('what waits for the next turn', () => {
  it('begins after those that sent little have been read', () => {
    const { opened, frame, begin, streamOpened, beginLater, go } = traffic();
    const [greedy, modest] = [connection('1'), connection('2')];
    const all = [greedy, modest];
    for (const one of all) opened(one);
    streamOpened(greedy);
    frame(modest);
    const begun: string[] = [];
    begin(LIMITS.firstBytes + 1, () => void begun.push('connection'));
    beginLater(greedy, () => begun.push('call') > 0);
    for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(greedy);
    for (const one of all) one.did.length = 0;
    go();
    assert.deepEqual([modest.did, greedy.did, begun], [['2resumed'], ['1paused'], ['call']]);
    go();
    assert.deepEqual([greedy.did, begun], [['1paused'], ['call', 'connection']]);
  });

  it('goes on although those that sent little fill each turn', () => {
    const { opened, frame, go } = traffic();
    const [greedy, ...modest] = [connection('1'), connection('2'), connection('3')] as const;
    for (const one of [greedy, ...modest]) opened(one);
    for (let i = 0; i < LIMITS.framesPerTurn; i += 1) frame(greedy);
    go();
    for (const one of modest) for (let i = 0; i < 3; i += 1) frame(one);
    greedy.did.length = 0;
    go();
    assert.deepEqual(greedy.did, ['1resumed']);
  });
});

describe('streams beyond all that may be open', () => {
  /** As many as there may be, on one connection, after one that sends much. */
  function setUp() {
    const counted = traffic();
    const [greedy, busy] = [connection('1'), connection('2')];
    for (const one of [greedy, busy]) counted.opened(one);
    for (let i = 0; i < LIMITS.calls + LIMITS.endingStreams; i += 1) counted.streamOpened(greedy);
    for (let i = 0; i < LIMITS.framesPerTurn; i += 1) counted.frame(busy);
    return { ...counted, greedy, busy };
  }

  it('keep nobody from being read for as long as their client leaves them open', () => {
    const { busy, endTurn } = setUp();
    endTurn();
    assert.deepEqual(busy.did, ['2paused', '2resumed']);
  });

  it('keep those who send much from being read until what was reset has closed', () => {
    const { greedy, busy, streamEnded, streamClosed, endTurn } = setUp();
    for (let i = 0; i < LIMITS.endingStreams; i += 1) streamEnded(greedy, true);
    endTurn();
    assert.deepEqual(busy.did, ['2paused']);
    streamClosed(greedy, undefined, true);
    endTurn();
    assert.deepEqual(busy.did, ['2paused', '2resumed']);
  });

  it('are refused without words', () => {
    const { greedy, isFull, streamOpened } = setUp();
    assert.equal(isFull(), false);
    for (let i = 0; i <= LIMITS.reservedCalls; i += 1) streamOpened(greedy);
    assert.equal(isFull(), true);
  });
});

describe('calls beyond those of a turn', () => {
  /** Two connections that have more calls than few, and one that has one. */
  function setUp() {
    const counted = traffic({ ...LIMITS, calls: 30 });
    const all = [connection('1'), connection('2'), connection('3')];
    const [first, second, modest] = all;
    assert.ok(first && second && modest);
    for (const one of all) counted.opened(one);
    for (const one of [first, second]) {
      for (let i = 0; i <= 2 * LIMITS.reservedCallsPerConnection; i += 1) counted.streamOpened(one);
    }
    counted.streamOpened(modest);
    const begun: string[] = [];
    const begin = (one: Connection, name: string): void => {
      if (counted.mayBegin(one)) begun.push(name);
      else counted.beginLater(one, () => begun.push(name) > 0);
    };
    return { ...counted, first, second, modest, begun, begin };
  }

  it('begin in later ones, those of each connection by turns', () => {
    const { first, second, begun, begin, go } = setUp();
    for (let i = 0; i < 6; i += 1) begin(first, `1.${i}`);
    for (let i = 0; i < 2; i += 1) begin(second, `2.${i}`);
    assert.deepEqual(begun.splice(0), ['1.0', '1.1', '1.2']);
    go();
    assert.deepEqual(begun.splice(0), ['1.3', '2.0', '1.4']);
    go();
    assert.deepEqual(begun.splice(0), ['2.1', '1.5']);
  });

  it('keep their own connection from being read until they have begun, and no other', () => {
    const { first, second, begin, frame, go } = setUp();
    for (let i = 0; i <= 2 * LIMITS.callsPerTurn; i += 1) begin(first, `${i}`);
    for (const one of [first, second]) frame(one);
    assert.deepEqual([first.did, second.did], [['1paused'], []]);
    go();
    assert.deepEqual([first.did, second.did], [['1paused'], []]);
    go();
    assert.deepEqual([first.did, second.did], [['1paused', '1resumed'], []]);
  });

  it('are forgotten where their connection closes', () => {
    const { first, second, closed, begun, begin, endTurn } = setUp();
    for (let i = 0; i < 9; i += 1) begin(first, `1.${i}`);
    closed(first);
    begin(second, '2');
    endTurn();
    assert.deepEqual(begun, ['1.0', '1.1', '1.2', '2']);
  });

  it('are answered in later ones, in their order', async () => {
    const { mayAnswer, turnToAnswer, go } = setUp();
    const answered: number[] = [];
    const answer = async (i: number): Promise<void> => {
      if (!mayAnswer()) await turnToAnswer();
      answered.push(i);
    };
    const all = Array.from({ length: 8 }, (_, i) => answer(i));
    assert.deepEqual(answered, [0, 1, 2]);
    go();
    await all[5];
    assert.deepEqual(answered, [0, 1, 2, 3, 4, 5]);
    go();
    await Promise.all(all);
    assert.deepEqual(answered, [0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('begin at once where their connection has few', () => {
    const { first, modest, begun, begin } = setUp();
    for (let i = 0; i < 6; i += 1) begin(first, `1.${i}`);
    begin(modest, '3');
    assert.deepEqual(begun.at(-1), '3');
  });

  it('of one connection begin in their order', () => {
    const { first, begun, begin, endTurn } = setUp();
    for (let i = 0; i < 4; i += 1) begin(first, `${i}`);
    endTurn();
    begin(first, '4');
    endTurn();
    assert.deepEqual(begun, ['0', '1', '2', '3', '4']);
  });
});

describe('a connection that begins with many bytes', () => {
  it('waits for a turn of its own, and one that begins with few does not', () => {
    const { begin, endTurn } = traffic();
    const begun: string[] = [];
    const first = (name: string, bytes: number): void => begin(bytes, () => void begun.push(name));
    first('few', LIMITS.firstBytes);
    for (const name of ['1', '2']) first(name, LIMITS.firstBytes + 1);
    assert.deepEqual(begun, ['few']);
    endTurn();
    assert.deepEqual(begun, ['few', '1']);
    // The next one is for those that sent much.
    endTurn();
    assert.deepEqual(begun, ['few', '1']);
    endTurn();
    assert.deepEqual(begun, ['few', '1', '2']);
  });

  it('waits too where as many have begun as a turn has room for', () => {
    const { begin, endTurn } = traffic();
    const begun: number[] = [];
    for (let i = 0; i < 4; i += 1) begin(1, () => void begun.push(i));
    assert.deepEqual(begun, [0, 1]);
    endTurn();
    assert.deepEqual(begun, [0, 1, 2, 3]);
  });

  it('keeps none from its turn that begins with few, and none of these keeps it from its own', () => {
    const { begin, endTurn } = traffic();
    const begun: string[] = [];
    for (let i = 0; i < 3; i += 1) {
      begin(LIMITS.firstBytes + 1, () => void begun.push('many'));
    }
    for (let i = 0; i < 6; i += 1) begin(1, () => void begun.push('few'));
    endTurn();
    endTurn();
    assert.deepEqual(new Set(begun), new Set(['many', 'few']));
    for (let i = 0; i < 4; i += 1) endTurn();
    assert.equal(begun.length, 9);
  });
});

describe('a place that its client has left before its call began', () => {
  it('is free at once, while the stream still counts', () => {
    const { opened, streamOpened, placeLeft, streamClosed, open } = traffic();
    const one = connection();
    opened(one);
    for (let i = 0; i < 20; i += 1) {
      const place = streamOpened(one);
      assert.equal(place, 'call');
      placeLeft(one, place);
    }
    assert.deepEqual([open().calls, open().streams, one.calls], [0, 20, 0]);
    for (let i = 0; i < 20; i += 1) streamClosed(one, undefined);
    assert.deepEqual([open().calls, open().streams, one.calls], [0, 0, 0]);
  });
});
