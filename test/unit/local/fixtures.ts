/** What the tests of the local keyring have in common: places, and results that must be good. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Result } from '../../../src/providers/errors.ts';
import type { Keyring, KeyringProblem } from '../../../src/providers/local/keyring-file.ts';
import { initKeyring, type KeyringPlace } from '../../../src/providers/local/store.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** When the keyrings of these tests were made. */
export const MADE_AT = Date.UTC(2026, 0, 1);

/** A keyring file that nobody has made yet, in a folder of the test's own. */
export function emptyPlace(t: TestContext): KeyringPlace {
  return { keyringFile: join(temporaryFolder(t), 'keyring.json') };
}

/** A keyring file with one key, not sealed. */
export async function madePlace(t: TestContext): Promise<KeyringPlace> {
  const place = emptyPlace(t);
  keyringOf(await initKeyring(place, {}, MADE_AT));
  return place;
}

/** The keyring, where it is no problem. */
export function keyringOf(outcome: Keyring | KeyringProblem): Keyring {
  assert.ok(!('problem' in outcome), 'problem' in outcome ? outcome.problem : '');
  return outcome;
}

/** The sentence, where something is wrong; empty where all is well. */
export function problemOf(outcome: object | KeyringProblem): string {
  return 'problem' in outcome ? String(outcome.problem) : '';
}

/** The value of a result that must be good. */
export function goodOf<T>(result: Result<T> | undefined): T {
  assert.ok(
    result?.ok,
    result === undefined ? 'no result' : 'error' in result ? result.error.message : '',
  );
  return result.value;
}

/** The error of a result that must be one. */
export function errorOf(result: Result<unknown> | undefined): { kind: string; message: string } {
  assert.ok(result !== undefined && !result.ok, 'it should have failed');
  return result.error;
}
