import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { takeInheritedSockets } from '../../../src/system/inherited-sockets.ts';
import type { DescriptorKind } from '../../../src/system/unix-table.ts';

const PID = 4711;

type Case = {
  readonly env: Readonly<Record<string, string>>;
  readonly kinds?: Readonly<Record<number, DescriptorKind>>;
  readonly paths?: Readonly<Record<number, string>>;
};

function taken({ env, kinds = {}, paths = {} }: Case) {
  return takeInheritedSockets(
    { ...env },
    PID,
    (fd) => kinds[fd] ?? 'closed',
    (fd) => paths[fd],
  );
}

function handed(count: string, names?: string): Case['env'] {
  return {
    LISTEN_PID: String(PID),
    LISTEN_FDS: count,
    ...(names === undefined ? {} : { LISTEN_FDNAMES: names }),
  };
}

describe('sockets that were handed over', () => {
  for (const [what, one, kms] of [
    ['nothing without variables', { env: {} }, undefined],
    [
      'nothing where they are for another process',
      { env: { ...handed('1'), LISTEN_PID: '1' } },
      undefined,
    ],
    ['nothing where there are none', { env: handed('0') }, undefined],
    ['the only one, without names', { env: handed('1'), kinds: { 3: 'listening' } }, 3],
    [
      'the only one, whatever its name',
      { env: handed('1', 'x.socket'), kinds: { 3: 'listening' } },
      3,
    ],
    [
      'the one named kms among others',
      { env: handed('2', 'x:kms'), kinds: { 3: 'listening', 4: 'listening' } },
      4,
    ],
    [
      'the one named trousseau.socket',
      { env: handed('2', 'x:trousseau.socket'), kinds: { 3: 'listening', 4: 'listening' } },
      4,
    ],
    ['nothing of notify alone', { env: handed('1', 'notify'), kinds: { 3: 'other' } }, undefined],
    [
      'the one beside notify',
      { env: handed('2', 'notify:a'), kinds: { 3: 'other', 4: 'listening' } },
      4,
    ],
    ['the one that listens', { env: handed('2'), kinds: { 3: 'other', 4: 'listening' } }, 4],
    ['one of another network namespace', { env: handed('1', 'kms'), kinds: { 3: 'unlisted' } }, 3],
  ] as const satisfies readonly (readonly [string, Case, number | undefined])[]) {
    it(`are ${what}`, () => {
      const found = taken(one);
      assert.ok(!('problem' in found), 'problem' in found ? found.problem : '');
      assert.equal(found.kms?.fd, kms);
    });
  }

  it('leave the others to others, by their names', () => {
    const found = taken({ env: handed('3', 'a:kms:notify'), kinds: { 4: 'listening' } });
    assert.deepEqual(found, {
      kms: { fd: 4, name: 'kms' },
      others: [
        { fd: 3, name: 'a' },
        { fd: 5, name: 'notify' },
      ],
      warnings: [],
    });
  });

  for (const [what, one, said] of [
    ['only one', { env: handed('1', 'kms'), kinds: { 3: 'listening' } }, undefined],
    [
      'one beside notify',
      { env: handed('2', 'kms:notify'), kinds: { 3: 'listening', 4: 'other' } },
      undefined,
    ],
    [
      'one beside a file of OpenFile=',
      { env: handed('2', 'kms:more'), kinds: { 3: 'listening', 4: 'other' } },
      undefined,
    ],
    [
      'a second ListenStream= of the same unit',
      {
        env: handed('2', 'kms:kms'),
        kinds: { 3: 'listening', 4: 'listening' },
        paths: { 3: '/run/trousseau/kms.sock', 4: '/run/other/kms.sock' },
      },
      /get no answer: fd 4 \("kms", "\/run\/other\/kms\.sock"\); where a drop-in .* empty line ListenStream=/,
    ],
    [
      'a listener of TCP, or of another network namespace',
      { env: handed('2', 'kms:web'), kinds: { 3: 'listening', 4: 'unlisted' } },
      /get no answer: fd 4 \("web"\);/,
    ],
    [
      'another socket and no name for either',
      { env: handed('2'), kinds: { 3: 'unlisted', 4: 'listening' } },
      /get no answer: fd 3 \("unknown"\);/,
    ],
    [
      'more than a line has room for',
      {
        env: handed('7', 'kms:kms:kms:kms:kms:kms:kms'),
        kinds: {
          ...{ 3: 'listening', 4: 'listening', 5: 'listening', 6: 'listening' },
          ...{ 7: 'listening', 8: 'listening', 9: 'listening' },
        },
      },
      /get no answer: fd 4 [^,]*, fd 5 [^,]*, fd 6 [^,]*, fd 7 \("kms"\) and 2 more;/,
    ],
  ] as const satisfies readonly (readonly [string, Case, RegExp | undefined])[]) {
    it(`are named in a warning where they are not served: ${what}`, () => {
      const found = taken(one);
      assert.ok(!('problem' in found), 'problem' in found ? found.problem : '');
      assert.equal(found.warnings.length, said === undefined ? 0 : 1);
      if (said !== undefined) assert.match(found.warnings[0] ?? '', said);
    });
  }

  for (const [one, said] of [
    [{ env: { ...handed('1'), LISTEN_PID: 'me' } }, /LISTEN_PID must be the number .* "me"/],
    [{ env: handed('many') }, /LISTEN_FDS must be a number up to 1024; found "many"/],
    [{ env: handed('-1') }, /LISTEN_FDS must be a number/],
    [{ env: handed('99999') }, /LISTEN_FDS must be a number/],
    [{ env: handed('2', 'kms') }, /LISTEN_FDNAMES has 1 names for LISTEN_FDS=2/],
    [{ env: handed('1', 'kms') }, /fd 3, which is not open/],
    [
      { env: handed('1', 'kms'), kinds: { 3: 'other' } },
      /none of .* fd 3 \("kms"\); use ListenStream=/,
    ],
    [
      { env: handed('2'), kinds: { 3: 'listening', 4: 'listening' } },
      /fd 3 and 4 are both .* FileDescriptorName=kms/,
    ],
  ] as const satisfies readonly (readonly [Case, RegExp])[]) {
    it(`are refused with a sentence: ${JSON.stringify(one.env)}`, () => {
      const found = taken(one);
      assert.ok('problem' in found);
      assert.match(found.problem, said);
    });
  }

  it('are in the environment no longer, for whatever we start', () => {
    const env = { ...handed('1', 'kms'), LISTEN_PIDFDID: '1', PATH: '/bin' };
    takeInheritedSockets(env, PID, () => 'listening');
    assert.deepEqual(env, { PATH: '/bin' });
  });
});
