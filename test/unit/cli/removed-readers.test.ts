import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { removedReaders } from '../../../src/cli/providers.ts';
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
