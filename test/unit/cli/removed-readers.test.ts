import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keepsProviders, removedReaders } from '../../../src/cli/providers.ts';
import type { ResolvedConfig } from '../../../src/config/environment.ts';
import { loadConfig } from '../../../src/config/load.ts';

const vault = (name: string, key: string, more = ''): string =>
  `  - {name: ${name}, vault: {addresses: [https://v:8200], key: ${key}${more}, auth: {token: {tokenFile: /t}}}}\n`;
const local = (name: string, file = `/${name}`): string =>
  `  - {name: ${name}, local: {keyringFile: ${file}}}\n`;
const A = vault('a', 'one');
const B = local('b');

function config(writer: string, ...providers: readonly string[]): ResolvedConfig {
  const text = `apiVersion: trousseau.io/v1\nkind: KMSPluginConfiguration\nwrite: [${writer}]\nproviders:\n${providers.join('')}`;
  const loaded = loadConfig(text, 'config.yaml', {});
  assert.ok(loaded.ok, JSON.stringify(loaded));
  return loaded.config;
}

/** What is in use and what comes next, and the names of those that decrypt no longer. */
const CASES: Readonly<
  Record<string, readonly [ResolvedConfig, ResolvedConfig, readonly string[]]>
> = {
  'nothing has changed': [config('a', A, B), config('a', A, B), []],
  'one that only decrypts has gone': [config('a', A, B), config('a', A), ['b']],
  'all of them have gone': [config('a', A, B, local('c')), config('a', A), ['b', 'c']],
  'the one that encrypts has gone, which the trial is about': [
    config('a', A, B),
    config('b', B),
    [],
  ],
  'another name': [config('a', A, B), config('a', A, local('c', '/b')), []],
  'another file': [config('a', A, B), config('a', A, local('b', '/c')), ['b']],
  'another address': [
    config('b', A, B),
    config('b', A.replace('https://v:8200', 'https://w:8200'), B),
    [],
  ],
  'another mount': [config('b', A, B), config('b', vault('a', 'one', ', mount: kms'), B), ['a']],
  'another namespace': [
    config('b', A, B),
    config('b', vault('a', 'one', ', namespace: n'), B),
    ['a'],
  ],
  'another key': [config('b', A, B), config('b', vault('a', 'two'), B), ['a']],
  'it encrypts from now on': [config('a', A, B), config('b', B), []],
};

describe('the providers that a configuration does not have any more', () => {
  for (const [what, [current, next, expected]] of Object.entries(CASES))
    it(what, () => assert.deepEqual(removedReaders(next, current), expected));
});

describe('what the providers of a configuration have decrypted is kept', () => {
  const cache = 'decryptCache: {maxEntries: 5}\n';
  const cases: Readonly<Record<string, readonly [ResolvedConfig, ResolvedConfig, boolean]>> = {
    'where nothing has changed': [config('a', A, B), config('a', A, B), true],
    'where another one encrypts': [config('a', A), config('b', A, B), true],
    'where one has another name': [config('a', A), config('c', vault('c', 'one'), B), true],
    'not where one has gone': [config('a', A, B), config('b', B), false],
    'not where one has another address': [
      config('a', A),
      config('a', A.replace('https://v:8200', 'https://w:8200'), B),
      false,
    ],
    'not where the cache has other bounds': [config('a', A), config('a', A, cache), false],
  };
  for (const [what, [current, next, expected]] of Object.entries(cases))
    it(what, () => assert.equal(keepsProviders(next, current), expected));
});
