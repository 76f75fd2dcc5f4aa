import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkHistory } from '../../robustness/checker.ts';
import { type At, call, fault, historyOf, read, servers, status, written } from './history-of.ts';

const UNAVAILABLE = { code: 'Unavailable' };
const DENIED = { code: 'PermissionDenied' };
const INVALID = { code: 'InvalidArgument' };

const START: At = [1, { e: 'process', node: 0, what: 'start' }];
const STOP: At = [90_000, { e: 'process', node: 0, what: 'exit', by: 'stop', how: 'code 0' }];
const SWEEP: At = [80_000, { e: 'phase', phase: 'sweep' }];
const STOPPED: At = [91_000, { e: 'phase', phase: 'stopped' }];
const damage = (object: string, from: number, to: number): At[] => [
  [from, { e: 'damage', object, damaged: true }],
  [to, { e: 'damage', object, damaged: false }],
];
const token = (granted: number): At => [90_500, { e: 'token', node: 0, granted }];
const failing = (from: number, count: number): At[] =>
  Array.from({ length: count }, (_, i) => {
    const t = from + i * 1_000;
    return [...read('a', [t, t + 900], UNAVAILABLE), ...status([t + 10, t + 20], 1)];
  }).flat();

/** What happened, and what the checker says of it; undefined where all is as it must be. */
const rows: readonly (readonly [string, string | undefined, ...(readonly At[])[]])[] = [
  ['an object is read as it was written', undefined, written('a'), read('a', [20, 30])],
  ['another plaintext', 'ANOTHER PLAINTEXT', written('a'), read('a', [20, 30], { sum: 'other' })],
  [
    'a read that fails without a fault',
    'nothing explains it',
    written('a'),
    read('a', [20, 30], UNAVAILABLE),
  ],
  [
    'a read that fails while one server of three is down',
    'nothing explains it',
    servers([1, 5_000, 9_000]),
    written('a'),
    read('a', [6_000, 8_900], UNAVAILABLE),
  ],
  [
    'a read that fails while all servers are down',
    undefined,
    servers([0, 5_000, 9_000], [1, 5_000, 9_000], [2, 5_000, 9_000]),
    written('a'),
    read('a', [6_000, 8_900], UNAVAILABLE),
  ],
  [
    'a read that fails long after all servers are up again',
    'nothing explains it',
    servers([0, 5_000, 9_000], [1, 5_000, 9_000], [2, 5_000, 9_000]),
    written('a'),
    read('a', [19_000, 19_010], UNAVAILABLE),
  ],
  [
    'two servers are down, and the network takes the third away',
    undefined,
    servers([0, 5_000, 9_000], [1, 5_000, 9_000]),
    fault([5_500, 8_000], 'network.refuse', { node: 0, server: 2 }),
    written('a'),
    read('a', [6_000, 7_000], UNAVAILABLE),
  ],
  [
    'two servers are down, and the network takes the third away from another plugin',
    'nothing explains it',
    servers([0, 5_000, 9_000], [1, 5_000, 9_000]),
    fault([5_500, 8_000], 'network.refuse', { node: 1, server: 2 }),
    written('a'),
    read('a', [6_000, 7_000], UNAVAILABLE),
  ],
  [
    'an outage that is told as a refusal',
    'nothing explains it',
    servers(),
    fault([5_000, 8_000], 'network.cutOff', { node: 0 }),
    written('a'),
    read('a', [6_000, 7_000], DENIED),
  ],
  [
    'a refusal while the policy is away',
    undefined,
    fault([5_000, 8_000], 'policy.none'),
    written('a'),
    read('a', [6_000, 7_000], DENIED),
  ],
  [
    'a refusal while a secret id is replaced',
    'nothing explains it',
    fault([5_000, 8_000], 'secret.replace', { node: 0 }),
    written('a'),
    read('a', [6_000, 7_000], DENIED),
  ],
  [
    'a refusal while the role of another plugin is away',
    'nothing explains it',
    fault([5_000, 8_000], 'role.replace', { node: 1 }),
    written('a'),
    read('a', [6_000, 7_000], DENIED),
  ],
  [
    'a call that a killed plugin does not answer',
    undefined,
    fault([5_000, 6_000], 'plugin.kill', { node: 0 }),
    written('a'),
    read('a', [4_990, 5_001], UNAVAILABLE),
  ],
  [
    'a call that is lost while the plugin is upgraded',
    'nothing explains it',
    fault([5_000, 6_000], 'plugin.handover', { node: 0 }),
    written('a'),
    read('a', [4_990, 5_001], UNAVAILABLE),
  ],
  [
    'an upgrade takes seconds on a busy machine',
    undefined,
    fault([5_000, 8_000], 'plugin.handover', { node: 0 }),
    written('a'),
    read('a', [4_990, 8_001], UNAVAILABLE),
  ],
  [
    'a call ends late while the machine stands still',
    undefined,
    [[7_000, { e: 'lag', ms: 800 }]],
    written('a'),
    read('a', [4_990, 7_995], { code: 'DeadlineExceeded' }),
  ],
  [
    'a refusal while the machine stands still',
    'nothing explains it',
    [[7_000, { e: 'lag', ms: 800 }]],
    written('a'),
    read('a', [4_990, 7_995], DENIED),
  ],
  [
    'a damaged object fails, and its neighbour does not',
    undefined,
    written('a'),
    written('b'),
    damage('a', 100, 200),
    read('a', [110, 120], INVALID),
    read('b', [110, 120]),
    read('a', [210, 220]),
  ],
  [
    'a neighbour of a damaged object fails',
    'nothing explains it',
    written('a'),
    written('b'),
    damage('a', 100, 200),
    read('a', [110, 120], INVALID),
    read('b', [110, 120], INVALID),
  ],
  [
    'a damaged object is read',
    'a damaged object was read',
    written('a'),
    damage('a', 100, 200),
    read('a', [110, 120]),
  ],
  [
    'a damaged object is reported as an outage',
    'a damaged object is not reported as such',
    written('a'),
    damage('a', 100, 200),
    read('a', [110, 120], UNAVAILABLE),
  ],
  [
    'an object below a raised minimum',
    undefined,
    written('a'),
    fault([5_000, 8_000], 'key.minimum', { minimum: 2 }),
    read('a', [6_000, 6_010], DENIED),
  ],
  [
    'an object that a raised minimum allows',
    'nothing explains it',
    written('a'),
    fault([5_000, 8_000], 'key.minimum', { minimum: 1 }),
    read('a', [6_000, 6_010], DENIED),
  ],
  ['key_id grows', undefined, status([10, 20], 1), status([30, 40], 2)],
  ['key_id goes back', 'version 1 after version 2', status([10, 20], 2), status([30, 40], 1)],
  [
    'calls that overlap may be answered in any order',
    undefined,
    status([10, 40], 1),
    status([20, 30], 2),
  ],
  [
    'Encrypt uses a version that Status has replaced',
    'version 1 after version 2',
    status([10, 20], 2),
    written('a', 30),
  ],
  [
    'Status announces an older version than Encrypt used',
    'version 1 after version 2',
    call([10, 20], 'write', { sum: 's', version: 2, keyId: 'k2' }, { object: 'a' }),
    status([30, 40], 1),
  ],
  [
    'two plugins announce different key_ids for one version',
    'two key_ids for version 1',
    status([10, 20], 1),
    call([30, 40], 'status', { healthz: 'ok', version: 1, keyId: 'other' }, { node: 1 }),
  ],
  [
    'a plugin announces what another one announces',
    undefined,
    call([1_000, 1_010], 'status', { healthz: 'ok', version: 2, keyId: 'k2' }, { node: 1 }),
    status([5_000, 5_010], 1),
    status([9_000, 9_010], 2),
  ],
  [
    'a plugin never announces it',
    'has been announced by another plugin',
    call([1_000, 1_010], 'status', { healthz: 'ok', version: 2, keyId: 'k2' }, { node: 1 }),
    status([15_000, 15_010], 1),
  ],
  [
    'kube-apiserver starts while a version is announced, and has no seed',
    undefined,
    fault([5_000, 5_000], 'key.rotate'),
    written('a'),
    read('a', [6_000, 6_001], { code: 'none' }, { through: 'envelope' }),
  ],
  [
    'Decrypt is refused by a rotation',
    'nothing explains it',
    fault([5_000, 5_000], 'key.rotate'),
    written('a'),
    read('a', [6_000, 6_001], DENIED),
  ],
  ['a call that ends in its time', undefined, written('a'), read('a', [100, 3_190])],
  [
    'a call that outlives its deadline',
    '200 ms after its deadline',
    written('a'),
    read('a', [100, 3_300]),
  ],
  [
    'a call that the test itself was late to end',
    undefined,
    written('a'),
    read('a', [100, 3_300]),
    [[3_290, { e: 'lag', ms: 150 }]],
  ],
  [
    'Status tells of trouble where there is none',
    'nothing explains it',
    status([100, 110], 1, { healthz: 'an outage' }),
  ],
  [
    'Status loses its key_id in an outage',
    'Status lost its key_id',
    servers(),
    fault([5_000, 9_000], 'network.cutOff', { node: 0 }),
    status([6_000, 6_010], 1, { code: 'Unavailable' }),
  ],
  [
    'Status is ok while no call is served',
    'Status was ok',
    servers(),
    fault([5_000, 30_000], 'network.cutOff', { node: 0 }),
    written('a'),
    failing(6_000, 10),
  ],
  [
    'every object is read from every plugin at the end',
    undefined,
    [START, STOP, SWEEP, STOPPED],
    written('a'),
    read('a', [80_001, 80_002]),
  ],
  ['an object that is not read at the end', 'LOST: a', [START, STOP, SWEEP, STOPPED], written('a')],
  [
    'a call that never ends',
    'never ended',
    [START, STOP, SWEEP, STOPPED],
    written('a').slice(0, 1),
  ],
  [
    'a plugin ends by itself',
    'plugin 0 ended with signal 6',
    [START, [50, { e: 'process', node: 0, what: 'exit', how: 'signal 6' }]],
  ],
  [
    'a plugin that is stopped ends with an error',
    'plugin 0 ended with code 1',
    [START, [50, { e: 'process', node: 0, what: 'exit', by: 'stop', how: 'code 1' }]],
  ],
  ['a stopped plugin leaves a token', 'left 1 tokens', [START, STOP, token(500)]],
  [
    'a killed plugin leaves its token',
    undefined,
    [START, [50, { e: 'process', node: 0, what: 'exit', by: 'kill', how: 'signal 9' }], token(20)],
  ],
  [
    'a killed plugin had more tokens than it used',
    'left 3 tokens',
    [START, [50, { e: 'process', node: 0, what: 'exit', by: 'kill', how: 'signal 9' }]],
    [token(20), token(30), token(40)],
  ],
  [
    'a call fails long after the last fault',
    'after the last fault',
    [[1_000, { e: 'phase', phase: 'calm' }]],
    written('a'),
    read('a', [20_000, 20_010], UNAVAILABLE),
  ],
];

describe('the history of a robustness run', () => {
  for (const [what, sentence, ...parts] of rows) {
    it(`${what}: ${sentence ?? 'as it must be'}`, () => {
      const { violations } = checkHistory(historyOf(...parts));
      const sentences = violations.map((violation) => violation.sentence);
      if (sentence === undefined) assert.deepEqual(sentences, []);
      else
        assert.ok(
          sentences.some((found) => found.includes(sentence)),
          sentences.join('\n'),
        );
    });
  }

  it('tells how much of it was checked', () => {
    const history = historyOf(
      written('a'),
      read('a', [20, 30]),
      fault([5_000, 8_000], 'policy.none'),
      read('a', [6_000, 8_400], DENIED),
    );
    const { numbers } = checkHistory(history);
    const { calls, failed, faults, objects, longestRecoveryMs } = numbers;
    assert.deepEqual(
      { calls, failed, faults, objects, longestRecoveryMs },
      { calls: 3, failed: 1, faults: 1, objects: 1, longestRecoveryMs: 400 },
    );
  });
});
