/**
 * Each rule of docs/robustness.md, "What must hold": a history that just keeps it, and one that just breaks
 * it. A checker that takes one for the other excuses a fault, or blames a machine that is slow.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fail } from '../../../src/providers/errors.ts';
import { createLoginSpacing } from '../../../src/providers/vault/login-spacing.ts';
import { checkHistory } from '../../robustness/checker.ts';
import type { CallBegin } from '../../robustness/history.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { type At, call, fault, historyOf, read, servers, status, written } from './history-of.ts';

const UNAVAILABLE = { code: 'Unavailable' };
const DENIED = { code: 'PermissionDenied' };

type History = readonly (readonly At[])[];
type Rule = readonly [what: string, holds: History, broken: History, sentence: string];

function sentencesOf(history: History): readonly string[] {
  return checkHistory(historyOf(...history)).violations.map(({ sentence }) => sentence);
}

const started = (node = 0, t = 1): At[] => [[t, { e: 'process', node, what: 'start' }]];
const exit = (t: number, by: 'kill' | 'stop' | undefined, how: string, node = 0): At[] => [
  [t, { e: 'process', node, what: 'exit', ...(by && { by }), how }],
];
const stopped = (t = 90_000): At[] => exit(t, 'stop', 'code 0');
const phase = (t: number, name: 'calm' | 'sweep' | 'stopped'): At[] => [
  [t, { e: 'phase', phase: name }],
];
const ENDED = [...phase(80_000, 'sweep'), ...phase(95_000, 'stopped')];
const token = (granted: number): At[] => [[94_000, { e: 'token', node: 0, granted }]];
const TWO_LIVES = [
  ...[started(), exit(50, 'kill', 'signal 9'), started(0, 60)],
  exit(90_000, 'kill', 'signal 9'),
];
const damage = (object: string, t: number, damaged: boolean): At[] => [
  [t, { e: 'damage', object, damaged }],
];
const lag = (t: number, ms: number): At[] => [[t, { e: 'lag', ms }]];
const at = (node: number): Partial<CallBegin> => ({ node });
const announced = (t: number, version: number, node: number, keyId = `k${version}`) =>
  call([t, t + 10], 'status', { healthz: 'ok', version, keyId }, { node });
const wrote = (t: number, version: number) =>
  call([t, t + 5], 'write', { sum: 's', version, keyId: `k${version}` }, { object: `o${t}` });
const MINIMUM = fault([5_000, 9_000], 'key.minimum', { minimum: 2 });
/** From 5 s to 9 s. */
const OUTAGE = [servers(), fault([5_000, 9_000], 'network.cutOff', { node: 0 })];
const REFUSAL = [fault([5_000, 9_000], 'policy.none')];
/** So many calls that fail within so long, and Status beside the last of them. */
const silentFor = (ms: number, count: number, healthz: string, asked = count): At[] =>
  Array.from({ length: count }, (_, i) => {
    const from = 6_000 + Math.floor((i * (ms - 400)) / (count - 1));
    return [
      ...read('a', [from, from + 400], UNAVAILABLE),
      ...(i < count - asked ? [] : status([from + 10, from + 20], 1, { healthz })),
    ];
  }).flat();
/** What Status said was ok at these times, in milliseconds. */
const okAt = (...times: readonly number[]): At[] =>
  times.flatMap((t) => status([t, t + 10], 1, { healthz: 'ok' }));
const LONG_OUTAGE = [servers(), fault([5_000, 30_000], 'network.cutOff', { node: 0 })];

const rules: Readonly<Record<string, readonly Rule[]>> = {
  'nothing is lost': [
    [
      'read from every plugin at the end',
      [
        started(),
        started(1),
        stopped(),
        exit(91_000, 'stop', 'code 0', 1),
        ENDED,
        written('a'),
        read('a', [80_001, 80_002]),
        read('a', [80_003, 80_004], undefined, at(1)),
      ],
      [
        started(),
        started(1),
        stopped(),
        exit(91_000, 'stop', 'code 0', 1),
        ENDED,
        written('a'),
        read('a', [80_001, 80_002]),
      ],
      'LOST: a was not read from plugin 1',
    ],
    [
      'read after the sweep has begun',
      [started(), stopped(), ENDED, written('a'), read('a', [80_000, 80_001])],
      [started(), stopped(), ENDED, written('a'), read('a', [79_999, 80_001])],
      'LOST: a',
    ],
    [
      'read, not only explained, at the end',
      [
        started(),
        stopped(),
        ENDED,
        written('a'),
        fault([79_000, 81_000], 'policy.none'),
        read('a', [80_500, 80_501], DENIED),
        read('a', [85_000, 85_001]),
      ],
      [
        started(),
        stopped(),
        ENDED,
        written('a'),
        fault([79_000, 81_000], 'policy.none'),
        read('a', [80_500, 80_501], DENIED),
      ],
      'LOST: a',
    ],
    [
      'a write that was not acknowledged may be missing',
      [
        started(),
        stopped(),
        ENDED,
        OUTAGE.flat(),
        call([6_000, 6_100], 'write', UNAVAILABLE, { object: 'a' }),
      ],
      [started(), stopped(), ENDED, OUTAGE.flat(), written('a', 6_000)],
      'LOST: a',
    ],
  ],
  'nothing is wrong': [
    [
      'the plaintext that was written',
      [written('a'), read('a', [20, 30])],
      [written('a'), written('b'), read('a', [20, 30], { sum: 'sum of b' })],
      'ANOTHER PLAINTEXT',
    ],
    [
      'a read without a plaintext',
      [written('a'), read('a', [20, 30])],
      [written('a'), read('a', [20, 30], {})],
      'ANOTHER PLAINTEXT',
    ],
    [
      'another plaintext in the worst of times',
      [...OUTAGE, written('a'), read('a', [6_000, 6_010], UNAVAILABLE)],
      [...OUTAGE, written('a'), read('a', [6_000, 6_010], { sum: 'other' })],
      'ANOTHER PLAINTEXT',
    ],
    [
      'damaged bytes',
      [written('a'), damage('a', 100, true), damage('a', 200, false), read('a', [201, 210])],
      [written('a'), damage('a', 100, true), damage('a', 200, false), read('a', [199, 210])],
      'a damaged object was read',
    ],
  ],
  'a damaged object fails alone': [
    [
      'as invalid',
      [written('a'), damage('a', 100, true), read('a', [110, 120], { code: 'InvalidArgument' })],
      [written('a'), damage('a', 100, true), read('a', [110, 120], { code: 'Internal' })],
      'a damaged object is not reported as such',
    ],
    [
      'what is read beside it',
      [written('a'), written('b'), damage('a', 100, true), read('b', [110, 120])],
      [written('a'), written('b'), damage('a', 100, true), read('b', [110, 120], UNAVAILABLE)],
      'nothing explains it',
    ],
  ],
  'key_id never goes back': [
    [
      'Status after Status',
      [status([10, 20], 2), status([21, 30], 2)],
      [status([10, 20], 2), status([21, 30], 1)],
      'version 1 after version 2',
    ],
    [
      'Encrypt after Encrypt, but for calls that overlap',
      [
        wrote(10, 2),
        call([15, 30], 'write', { sum: 's', version: 1, keyId: 'k1' }, { object: 'x' }),
      ],
      [
        wrote(10, 2),
        call([16, 30], 'write', { sum: 's', version: 1, keyId: 'k1' }, { object: 'x' }),
      ],
      'version 1 after version 2',
    ],
    [
      'across a restart',
      [
        started(),
        status([10, 20], 2),
        exit(30, 'kill', 'signal 9'),
        started(0, 40),
        status([50, 60], 2),
      ],
      [
        started(),
        status([10, 20], 2),
        exit(30, 'kill', 'signal 9'),
        started(0, 40),
        status([50, 60], 1),
      ],
      'version 1 after version 2',
    ],
    [
      'one key_id for one version, on all nodes',
      [announced(10, 1, 0), announced(20, 1, 1)],
      [announced(10, 1, 0), announced(20, 1, 1, 'other')],
      'two key_ids for version 1',
    ],
    [
      'one version for one key_id',
      [announced(10, 1, 0), announced(20, 2, 0)],
      [announced(10, 1, 0), announced(20, 2, 0, 'k1')],
      'one key_id for two versions',
    ],
    [
      'what one announces the others announce within 10 s',
      [announced(1_000, 2, 1), announced(11_009, 1, 0)],
      [announced(1_000, 2, 1), announced(11_011, 1, 0)],
      'has been announced by another plugin',
    ],
    [
      'or later, where they cannot reach Vault meanwhile',
      [...OUTAGE, announced(1_000, 2, 1), announced(11_500, 1, 0)],
      [
        servers(),
        fault([5_000, 9_000], 'network.cutOff', { node: 1 }),
        announced(1_000, 2, 1),
        announced(11_500, 1, 0),
      ],
      'has been announced by another plugin',
    ],
  ],
  'Status is true': [
    [
      'trouble only where there is one',
      [...OUTAGE, status([6_000, 6_010], 1, { healthz: 'away' })],
      [...OUTAGE, status([4_000, 4_010], 1, { healthz: 'away' })],
      'Status says "away"',
    ],
    [
      'a rotation is none',
      [fault([5_000, 5_000], 'key.rotate'), status([6_000, 6_010], 1)],
      [fault([5_000, 5_000], 'key.rotate'), status([6_000, 6_010], 1, { healthz: 'away' })],
      'Status says "away"',
    ],
    [
      'a key_id in an outage, but for a plugin that has just started',
      [...OUTAGE, started(0, 5_500), status([6_000, 6_010], 1, UNAVAILABLE)],
      [...OUTAGE, started(0, 1_900), status([6_000, 6_010], 1, UNAVAILABLE)],
      'Status lost its key_id',
    ],
    [
      'a key_id in an outage, but for a plugin that was refused',
      [...OUTAGE, ...REFUSAL, status([6_000, 6_010], 1, UNAVAILABLE)],
      [...OUTAGE, status([6_000, 6_010], 1, UNAVAILABLE)],
      'Status lost its key_id',
    ],
    [
      'not ok while calls fail for 6 s',
      [...LONG_OUTAGE, written('a'), silentFor(6_380, 12, 'ok')],
      [...LONG_OUTAGE, written('a'), silentFor(6_400, 12, 'ok')],
      'Status was ok',
    ],
    [
      'but trouble, once at least',
      [...LONG_OUTAGE, written('a'), silentFor(8_000, 15, 'away')],
      [...LONG_OUTAGE, written('a'), silentFor(8_000, 15, 'ok')],
      'Status was ok',
    ],
    [
      'of which there are some',
      [...LONG_OUTAGE, written('a'), silentFor(8_000, 7, 'ok'), status([13_000, 13_010], 1)],
      [...LONG_OUTAGE, written('a'), silentFor(8_000, 8, 'ok')],
      'Status was ok',
    ],
    [
      'as far as it was asked',
      [...LONG_OUTAGE, written('a'), silentFor(8_000, 12, 'ok', 4)],
      [...LONG_OUTAGE, written('a'), silentFor(8_000, 12, 'ok', 5)],
      'Status was ok',
    ],
    [
      'and after that time',
      [
        ...LONG_OUTAGE,
        written('a'),
        silentFor(8_000, 12, 'ok', 0),
        okAt(9_100, 10_000, 11_000, 11_500, 11_990),
      ],
      [
        ...LONG_OUTAGE,
        written('a'),
        silentFor(8_000, 12, 'ok', 0),
        okAt(9_100, 10_000, 11_000, 11_500, 12_010),
      ],
      'Status was ok',
    ],
    [
      'a key_id in an outage, but for a plugin that does not run',
      [fault([5_000, 9_000], 'plugin.pause', { node: 0 }), status([6_000, 6_010], 1, UNAVAILABLE)],
      [...OUTAGE, status([6_000, 6_010], 1, UNAVAILABLE)],
      'Status lost its key_id',
    ],
    [
      'unless a call is served meanwhile',
      [...LONG_OUTAGE, written('a'), silentFor(8_000, 12, 'ok'), read('a', [9_050, 9_060])],
      [...LONG_OUTAGE, written('a'), silentFor(8_000, 12, 'ok')],
      'Status was ok',
    ],
  ],
  'calls end in time': [
    [
      'within 100 ms of their deadline',
      [written('a'), read('a', [100, 3_200])],
      [written('a'), read('a', [100, 3_201])],
      'after its deadline',
    ],
    [
      'and of what the test itself was late',
      [written('a'), lag(3_200, 150), read('a', [100, 3_350])],
      [written('a'), lag(3_200, 150), read('a', [100, 3_351])],
      'after its deadline',
    ],
    [
      'by what it was late at that time',
      [written('a'), lag(3_000, 150), read('a', [100, 3_300])],
      [written('a'), lag(99, 150), read('a', [100, 3_300])],
      'after its deadline',
    ],
    [
      'also in an outage',
      [...OUTAGE, written('a'), read('a', [5_500, 8_600], { code: 'DeadlineExceeded' })],
      [...OUTAGE, written('a'), read('a', [5_500, 8_601], { code: 'DeadlineExceeded' })],
      'after its deadline',
    ],
  ],
  'it comes back': [
    [
      'within 10 s of the last fault',
      [
        phase(8_000, 'calm'),
        servers(),
        written('a'),
        fault([5_000, 20_000], 'network.cutOff', { node: 0 }),
        read('a', [17_900, 18_000], UNAVAILABLE),
      ],
      [
        phase(8_000, 'calm'),
        servers(),
        written('a'),
        fault([5_000, 20_000], 'network.cutOff', { node: 0 }),
        read('a', [17_900, 18_001], UNAVAILABLE),
      ],
      'after the last fault',
    ],
    [
      'but for what begins only after it',
      [
        phase(4_900, 'calm'),
        servers(),
        written('a'),
        fault([5_000, 20_000], 'network.cutOff', { node: 0 }),
        read('a', [17_900, 18_001], UNAVAILABLE),
      ],
      [
        phase(5_000, 'calm'),
        servers(),
        written('a'),
        fault([5_000, 20_000], 'network.cutOff', { node: 0 }),
        read('a', [17_900, 18_001], UNAVAILABLE),
      ],
      'after the last fault',
    ],
  ],
  'nothing is left in Vault': [
    [
      'of a plugin that was stopped',
      [started(), stopped()],
      [started(), stopped(), token(500)],
      'left 1 tokens',
    ],
    [
      'of a plugin that was killed, but two',
      [started(), exit(90_000, 'kill', 'signal 9'), token(20), token(30)],
      [started(), exit(90_000, 'kill', 'signal 9'), token(20), token(30), token(40)],
      'left 3 tokens',
    ],
    [
      'of a plugin that was stopped while it could use Vault',
      [...OUTAGE, started(), stopped(6_000), token(500)],
      [...OUTAGE, started(), stopped(13_000), token(500)],
      'left 1 tokens',
    ],
    [
      'of each killed process by itself',
      [...TWO_LIVES, token(20), token(30), token(70), token(80)],
      [...TWO_LIVES, token(20), token(30), token(59), token(70)],
      'left 3 tokens',
    ],
    [
      'of each process by itself',
      [started(), exit(50, 'kill', 'signal 9'), started(0, 60), stopped(), token(20), token(59)],
      [started(), exit(50, 'kill', 'signal 9'), started(0, 60), stopped(), token(20), token(60)],
      'left 1 tokens',
    ],
  ],
  'an object below a raised minimum is refused': [
    [
      'with the code of a refusal',
      [written('a'), MINIMUM, read('a', [6_000, 6_010], DENIED)],
      [written('a'), MINIMUM, read('a', [6_000, 6_010], UNAVAILABLE)],
      'nothing explains it',
    ],
    [
      'from when it is raised',
      [written('a'), MINIMUM, read('a', [4_900, 5_000], DENIED)],
      [written('a'), MINIMUM, read('a', [4_900, 4_999], DENIED)],
      'nothing explains it',
    ],
    [
      'until it is lowered',
      [written('a'), MINIMUM, read('a', [8_999, 9_100], DENIED)],
      [written('a'), MINIMUM, read('a', [9_001, 9_100], DENIED)],
      'nothing explains it',
    ],
  ],
  'processes live': [
    [
      'until they are stopped',
      [started(), exit(50, 'stop', 'code 0')],
      [started(), exit(50, undefined, 'code 0')],
      'plugin 0 ended with code 0',
    ],
    [
      'and stop with code 0',
      [started(), exit(50, 'kill', 'signal 9')],
      [started(), exit(50, 'stop', 'signal 9')],
      'plugin 0 ended with signal 9',
    ],
    [
      'and leave no call without an end',
      [started(), stopped(), ENDED, written('a'), read('a', [80_001, 80_002])],
      [
        started(),
        stopped(),
        ENDED,
        written('a'),
        read('a', [80_001, 80_002]),
        read('a', [80_003, 80_004]).slice(0, 1),
      ],
      'never ended',
    ],
  ],
};

for (const [rule, rows] of Object.entries(rules))
  describe(`the rule that ${rule}`, () => {
    for (const [what, holds, broken, sentence] of rows) {
      it(`${what}: is kept`, () => {
        assert.deepEqual(sentencesOf(holds), []);
      });
      it(`${what}: is broken`, () => {
        const found = sentencesOf(broken);
        assert.ok(
          found.length > 0 && found.every((one) => one.includes(sentence)),
          found.join('\n'),
        );
      });
    }
  });

/** What a call of the service, without a memory of its own, may be told, and for how long afterwards. */
const CODES = [
  ...['Unavailable', 'DeadlineExceeded', 'Canceled', 'PermissionDenied', 'FailedPrecondition'],
  ...['InvalidArgument', 'ResourceExhausted', 'Internal', 'Unknown', 'Unimplemented'],
];
const OF_VAULT = ['Unavailable', 'DeadlineExceeded'];
const down = (kind: 'plugin.kill' | 'plugin.stop' | 'plugin.pause') =>
  [kind, [fault([5_000, 9_000], kind, { node: 0 })], [...OF_VAULT, 'Canceled'], 5_000] as const;
const reasons: readonly (readonly [string, History, readonly string[], number])[] = [
  ['all servers are away', OUTAGE, OF_VAULT, 3_000],
  [
    'two servers hang',
    [
      servers(),
      fault([4_999, 9_000], 'vault.pause', { server: 0 }),
      fault([5_000, 9_000], 'vault.pause', { server: 1 }),
    ],
    OF_VAULT,
    3_000,
  ],
  ['the policy is away', REFUSAL, ['PermissionDenied', 'FailedPrecondition'], 3_000],
  [
    'the policy for decrypt is away',
    [fault([5_000, 9_000], 'policy.noDecrypt')],
    ['PermissionDenied', 'FailedPrecondition'],
    3_000,
  ],
  [
    'the role is away',
    [fault([5_000, 9_000], 'role.replace', { node: 0 })],
    ['PermissionDenied', 'FailedPrecondition'],
    3_000,
  ],
  down('plugin.kill'),
  down('plugin.stop'),
  down('plugin.pause'),
  ['the machine stands still', [lag(9_000, 400)], OF_VAULT, 3_000],
  [
    'an upgrade takes long',
    [fault([7_499, 9_000], 'plugin.handover', { node: 0 })],
    OF_VAULT,
    3_000,
  ],
];

describe('a call may fail where', () => {
  for (const [what, history, codes, graceMs] of reasons) {
    const failing = (code: string, t: number): readonly string[] =>
      sentencesOf([...history, written('a'), read('a', [t, t + 100], { code })]);
    it(`${what}: with its codes alone`, () => {
      const excused = CODES.filter((code) => failing(code, 8_000).length === 0);
      assert.deepEqual(excused, codes);
    });
    it(`${what}: not later than ${graceMs} ms after its end`, () => {
      const [code = ''] = codes;
      assert.deepEqual(failing(code, 9_000 + graceMs), []);
      const found = failing(code, 9_001 + graceMs);
      assert.ok(found.length === 1 && found[0]?.includes('nothing explains it'), found.join('\n'));
    });
  }
});

describe('a call may not fail because', () => {
  const none: readonly (readonly [string, History])[] = [
    ['one server is away', [servers([1, 5_000, 9_000])]],
    ['one server hangs', [servers(), fault([5_000, 9_000], 'vault.pause', { server: 1 })]],
    [
      'two servers are away',
      [servers([1, 5_000, 9_000]), fault([5_000, 9_000], 'network.refuse', { node: 0, server: 0 })],
    ],
    [
      'another plugin is cut off',
      [servers(), fault([5_000, 9_000], 'network.cutOff', { node: 1 })],
    ],
    ['another plugin is killed', [fault([5_000, 9_000], 'plugin.kill', { node: 1 })]],
    ['the role of another plugin is away', [fault([5_000, 9_000], 'role.replace', { node: 1 })]],
    ['the machine is a little slow', [lag(9_000, 399)]],
    ['an upgrade takes its time', [fault([7_500, 9_000], 'plugin.handover', { node: 0 })]],
    ...(
      [
        ...['network.delay', 'network.slow', 'key.rotate', 'key.minimum', 'token.revoke'],
        ...['secret.replace', 'plugin.reload', 'plugin.badReload', 'plugin.clock', 'store.damage'],
      ] as const
    ).map((kind): readonly [string, History] => [
      `of ${kind}`,
      [
        servers(),
        fault([5_000, 9_000], kind, { node: 0, ...(kind === 'key.minimum' && { minimum: 1 }) }),
      ],
    ]),
  ];
  for (const [what, history] of none)
    it(what, () => {
      const excused = CODES.filter((code) => {
        const found = sentencesOf([...history, written('a'), read('a', [8_000, 8_100], { code })]);
        return !found.some((one) => one.includes('nothing explains it'));
      });
      assert.deepEqual(excused, []);
    });
});

describe('a login that may have left a token', () => {
  /** As the plugin itself says it. */
  const waiting = async (): Promise<string> => {
    const spacing = createLoginSpacing(createDrivenClock(1_000));
    await spacing.send(async () => fail('unavailable', 'logging in: no answer'));
    return spacing.held()?.error.message ?? assert.fail();
  };
  const inOutage = OUTAGE;
  const rows: readonly (readonly [string, History, number, (words: string) => object, boolean])[] =
    [
      ['explains a call as long as the next one waits', inOutage, 19_000, unavailable, true],
      ['explains none after that', inOutage, 19_001, unavailable, false],
      ['explains none that does not say so', inOutage, 13_000, () => UNAVAILABLE, false],
      ['explains none without an outage', [servers()], 8_000, unavailable, false],
      ['explains none before the outage', inOutage, 4_000, unavailable, false],
      ['explains none after a refusal by a policy', REFUSAL, 13_000, unavailable, false],
      [
        'explains none that is told otherwise',
        inOutage,
        13_000,
        (words) => ({ ...DENIED, error: words }),
        false,
      ],
    ];
  for (const [what, history, t, end, isExplained] of rows)
    it(what, async () => {
      const words = `decrypting: ${await waiting()}`;
      const found = sentencesOf([...history, written('a'), read('a', [t, t + 10], end(words))]);
      if (isExplained) assert.deepEqual(found, []);
      else
        assert.ok(
          found.some((one) => one.includes('nothing explains it')),
          found.join('\n'),
        );
    });

  it('explains Status just as long', async () => {
    const healthz = `provider unavailable for 9 s: ${await waiting()}`;
    assert.deepEqual(sentencesOf([...OUTAGE, status([19_000, 19_010], 1, { healthz })]), []);
    const [found] = sentencesOf([...OUTAGE, status([19_001, 19_010], 1, { healthz })]);
    assert.match(String(found), /nothing explains it/);
  });
});

describe('what kube-apiserver remembers', () => {
  const ENVELOPE = { through: 'envelope' } as const;
  const NO_SEED = { code: 'none' };
  const UNHEALTHY = { code: 'Unhealthy' };
  const healthz = (t: number) => call([t, t + 10], 'healthz', UNHEALTHY);
  const seedless = (t: number) => read('a', [t, t + 10], NO_SEED, ENVELOPE);
  const rotation = fault([9_000, 9_000], 'key.rotate');
  const start = [...started(0, 9_000), ...fault([8_999, 9_000], 'plugin.kill', { node: 0 })];
  const rows: readonly (readonly [string, History, (t: number) => readonly At[], number])[] = [
    ['a seed that it did not get in an outage', OUTAGE, seedless, 16_000],
    ['a seed that it did not get in a refusal', REFUSAL, seedless, 16_000],
    ['a seed that it did not get in a rotation', [rotation], seedless, 18_000],
    ['a seed that it did not get after a start', [start], seedless, 18_000],
    ['a health check that failed in an outage', OUTAGE, healthz, 8_000],
  ];
  for (const [what, history, failing, afterMs] of rows)
    it(`explains ${what}, and for no longer than it is remembered`, () => {
      assert.deepEqual(sentencesOf([...history, written('a'), failing(9_000 + afterMs)]), []);
      const [found] = sentencesOf([...history, written('a'), failing(9_001 + afterMs)]);
      assert.match(String(found), /nothing explains it/);
    });

  it('is no memory of the plugin', () => {
    const late = read('a', [12_001, 12_010], NO_SEED);
    assert.match(String(sentencesOf([...OUTAGE, written('a'), late])[0]), /nothing explains it/);
    const v1 = read('a', [12_001, 12_010], NO_SEED, { ...ENVELOPE, api: 'v1' });
    assert.match(String(sentencesOf([...OUTAGE, written('a'), v1])[0]), /nothing explains it/);
  });
});

function unavailable(error: string): object {
  return { ...UNAVAILABLE, error };
}
