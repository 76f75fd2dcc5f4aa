import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { keyId, keyIdHash } from '../../../src/keyring/key-id.ts';

const path = fc.array(fc.string({ maxLength: 40 }), { minLength: 1, maxLength: 4 });
const key = fc.record({
  version: fc.integer({ min: 1, max: 1e6 }),
  createdAt: fc.integer({ min: 0 }),
});

describe('key_id', () => {
  it('is the readable head and half of the SHA-256 over what names the key', () => {
    const hash = createHash('sha256')
      .update('["vault","admin/transit","kubernetes",3,1700000000000]')
      .digest('hex');
    assert.equal(
      keyId(['vault', 'admin/transit', 'kubernetes'], { version: 3, createdAt: 1_700_000_000_000 }),
      `vault:v3:${hash.slice(0, 32)}`,
    );
  });

  it('is the same on every node that sees the same key', () => {
    fc.assert(fc.property(path, key, (p, k) => keyId(p, k) === keyId([...p], { ...k })));
  });

  it('differs as soon as anything that names the key differs', () => {
    fc.assert(
      fc.property(path, key, path, key, (p, k, q, l) => {
        const same = JSON.stringify([p, k]) === JSON.stringify([q, l]);
        return same === (keyId(p, k) === keyId(q, l));
      }),
    );
  });

  it('does not confuse a path with another cut at another place', () => {
    const version = { version: 1, createdAt: 0 };
    assert.notEqual(keyId(['a', 'b', 'cd'], version), keyId(['a', 'bc', 'd'], version));
  });

  it('shows in metrics under the hash that kube-apiserver shows', () => {
    assert.equal(
      keyIdHash('abc'),
      'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
  });
});
