import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  annotationsProblem,
  ciphertextProblem,
  keyIdProblem,
  plaintextProblem,
} from '../../../src/kms/limits.ts';

const bytes = (length: number): Uint8Array => new Uint8Array(length);
const annotated = (key: string, length = 1): ReadonlyMap<string, Uint8Array> =>
  new Map([[key, bytes(length)]]);

describe('the limits of the KMS contract: exactly at one passes, beyond it does not', () => {
  const table: [string, (n: number) => string | undefined, number][] = [
    ['a plaintext of 64 KiB', (n) => plaintextProblem(bytes(n)), 65_536],
    ['a v2 ciphertext of 1024 bytes', (n) => ciphertextProblem(bytes(n), 1024), 1024],
    ['a key_id of 1024 bytes', (n) => keyIdProblem('k'.repeat(n)), 1024],
    [
      'annotations of 32 KiB with their keys',
      (n) => annotationsProblem(annotated('a.b', n - 3)),
      32_768,
    ],
    [
      'an annotation key of 253 characters',
      (n) => annotationsProblem(annotated(`${'a.'.repeat((n - 1) / 2)}b`)),
      253,
    ],
    [
      'an annotation label of 63 characters',
      (n) => annotationsProblem(annotated(`${'a'.repeat(n)}.b`)),
      63,
    ],
  ];
  for (const [name, problem, limit] of table) {
    it(name, () => {
      assert.equal(problem(limit), undefined);
      assert.equal(typeof problem(limit + 2), 'string');
    });
  }

  it('counts a key_id in bytes, not in characters', () => {
    assert.equal(typeof keyIdProblem('é'.repeat(513)), 'string');
  });

  it('takes nothing that is empty', () => {
    assert.match(plaintextProblem(bytes(0)) ?? '', /empty/);
    assert.match(ciphertextProblem(bytes(0), 1024) ?? '', /empty: what it stood for was lost/);
    assert.match(keyIdProblem('') ?? '', /empty/);
  });
});

describe('annotation keys', () => {
  for (const key of [
    'v2.kleidi.beezy.dev',
    'spare.copy.trousseau.io',
    'a.b',
    '0.x-y.z',
    'a.b.',
    'v2.kleidi.beezy.dev.',
  ]) {
    it(`takes ${key}`, () => assert.equal(annotationsProblem(annotated(key)), undefined));
  }
  for (const key of [
    '',
    'one',
    'a.b/c',
    'A.b',
    'a..b',
    '.a.b',
    '-a.b',
    'a-.b',
    'a_b.c',
    'a.b..',
    'a.',
    '.',
    'é.b',
  ]) {
    it(`refuses ${JSON.stringify(key)}`, () =>
      assert.equal(typeof annotationsProblem(annotated(key)), 'string'));
  }
});
