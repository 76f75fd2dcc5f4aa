import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { transitCiphertextIn } from '../../../src/providers/vault/predecessors.ts';

const KEY = 'my-key';
const TRANSIT = `vault:v3:${Buffer.alloc(60, 7).toString('base64')}`;
const ENCODED = Buffer.from(TRANSIT).toString('base64');

const found = (text: string, key = KEY): string =>
  Buffer.from(transitCiphertextIn(Buffer.from(text, 'latin1'), key)).toString('latin1');

describe('a Transit ciphertext', () => {
  const forms: readonly [string, string][] = [
    ['as it is', TRANSIT],
    ['with the name of the key', TRANSIT.replace('vault', KEY)],
    ['in base64', ENCODED],
    ['in a line of the proxy', `vault:-:${ENCODED}\n`],
    ['in one of several lines', `debug:-:QUJD\nvault:-:${ENCODED}\nawskms:-:QUJD\n`],
    ['in a line without base64', `vault:-:${TRANSIT}\n`],
    ['in the last line without its end', `awskms:-:QUJD\nvault:-:${ENCODED}`],
  ];
  for (const [what, stored] of forms)
    it(`is found ${what}`, () => assert.equal(found(stored), TRANSIT));

  it('is found where the key is named as the prefix, or as one that begins like it', () => {
    assert.equal(found(TRANSIT, 'vault'), TRANSIT);
    assert.equal(found(TRANSIT.replace('vault', 'my'), 'my'), TRANSIT);
  });

  const none: readonly [string, string][] = [
    ['another key', TRANSIT.replace('vault', 'other')],
    ['a key that begins like ours', TRANSIT.replace('vault', `${KEY}-2`)],
    ['an empty line of the proxy, which nobody can decrypt', 'vault:-:\n'],
    ['lines of other providers', 'debug:-:QUJD\nawskms:-:QUJD\n'],
    ['base64 of something else', Buffer.from('local:v1:QUJD').toString('base64')],
    ['base64 that was cut', ENCODED.slice(0, -1)],
    ['nothing', ''],
  ];
  for (const [what, stored] of none)
    it(`is not made of ${what}`, () => assert.equal(found(stored), stored));

  it('is looked for in any bytes without an error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.ok(transitCiphertextIn(bytes, KEY).length <= bytes.length + 'vault'.length);
      }),
    );
  });
});
