/** What is said where a ciphertext is of a provider that the configuration does not have. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createDrivenClock } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';
import { bytes, patience, startNode } from './outage-under-test.ts';

const REMOVED = (kind: string, version: number): RegExp =>
  new RegExp(`kind ${kind} has written .* version ${version} .*put that one back into providers`);
const UNKNOWN = /not of a form that a configured provider \(fake(?:, other)?\) writes/;

const CASES: readonly (readonly [string, RegExp])[] = [
  ['local:v1:AAAA', REMOVED('local', 1)],
  ['vault:v12:AAAA', REMOVED('vault', 12)],
  ['vault:v12:', REMOVED('vault', 12)],
  ['vault:v', UNKNOWN],
  ['locals:v1:AAAA', UNKNOWN],
  ['local-kek:v1:AAAA', /local KEK/],
  ['', UNKNOWN],
];

describe('a ciphertext that no configured provider has written', () => {
  for (const others of [[], [createFakeProvider('other')]])
    for (const [ciphertext, says] of CASES)
      it(`names what is missing: "${ciphertext}", ${1 + others.length} configured`, async () => {
        const provider = createFakeProvider();
        const { keyring } = await startNode(provider, createDrivenClock(), 10, others);
        const sealed = { ciphertext: bytes(ciphertext), purpose: 'seed' } as const;
        const outcome = await keyring.decrypt(sealed, patience());
        assert.ok(!outcome.ok);
        assert.equal(outcome.error.kind, 'invalid');
        assert.match(outcome.error.message, says);
        await keyring.stop();
      });
});
