import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { isPublic, PRIVATE_NETWORKS } from '../../../src/providers/vault/private-address.ts';

/** As systemd.resource-control(5) writes them out. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  localhost: ['127.0.0.0/8', '::1/128'],
  'link-local': ['169.254.0.0/16', 'fe80::/64'],
};

describe('private addresses', () => {
  it('are those that the unit allows', () => {
    const unit = readFileSync('systemd/trousseau.service', 'utf8');
    const allowed = /^IPAddressAllow=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? [];
    assert.deepEqual(
      allowed.flatMap((name) => NAMES[name] ?? [name]),
      PRIVATE_NETWORKS,
    );
  });

  for (const [ip, expected] of [
    ['127.0.0.1', false],
    ['10.1.2.3', false],
    ['172.31.255.255', false],
    ['172.32.0.1', true],
    ['192.168.0.1', false],
    ['100.64.0.1', false],
    ['169.254.169.254', false],
    ['198.51.100.7', true],
    ['8.8.8.8', true],
    ['::1', false],
    ['fd00::1', false],
    ['fe80::1', false],
    ['2001:db8::1', true],
    ['::ffff:10.0.0.1', false],
  ] as const) {
    it(`${expected ? 'do not include' : 'include'} ${ip}`, () => {
      assert.equal(isPublic(ip), expected);
    });
  }
});
