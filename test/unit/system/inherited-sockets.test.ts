import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { takeInheritedSockets } from '../../../src/system/inherited-sockets.ts';
import type { DescriptorKind } from '../../../src/system/unix-table.ts';

const PID = 4711;

type Case = {
  readonly env: Readonly<Record<string, string>>;
  readonly kinds?: Readonly<Record<number, DescriptorKind>>;
};

function taken({ env, kinds = {} }: Case) {
  return takeInheritedSockets({ ...env }, PID, (fd) => kinds[fd] ?? 'closed');
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
    });
  });

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
