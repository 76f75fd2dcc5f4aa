import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { proxyFor, shownProxy } from '../../../src/system/proxy.ts';

const PROXY = 'http://proxy.example:3128';
const VAULT = 'https://vault.example:8200';

describe('the proxy of the environment', () => {
  type Environment = Readonly<Record<string, string>>;
  const table: readonly (readonly [string, string, Environment, string | undefined])[] = [
    ['nothing is set', VAULT, {}, undefined],
    ['HTTPS_PROXY', VAULT, { HTTPS_PROXY: PROXY }, PROXY],
    ['https_proxy', VAULT, { https_proxy: PROXY }, PROXY],
    ['an empty HTTPS_PROXY', VAULT, { HTTPS_PROXY: '' }, undefined],
    ['an empty one beside a set one', VAULT, { HTTPS_PROXY: '', https_proxy: PROXY }, PROXY],
    ['a proxy without scheme', VAULT, { HTTPS_PROXY: 'proxy.example:3128' }, PROXY],
    ['HTTP_PROXY only', VAULT, { HTTP_PROXY: PROXY }, undefined],
    ['plain http', 'http://vault.example:8200', { HTTPS_PROXY: PROXY }, undefined],
    ['localhost', 'https://localhost:8200', { HTTPS_PROXY: PROXY }, undefined],
    ['127.0.0.2', 'https://127.0.0.2:8200', { HTTPS_PROXY: PROXY }, undefined],
    ['::1', 'https://[::1]:8200', { HTTPS_PROXY: PROXY }, undefined],
  ];
  for (const [what, address, env, proxy] of table) {
    it(`${what}: ${proxy === undefined ? 'the direct way' : 'the proxy'}`, () => {
      assert.equal(proxyFor(address, undefined, env), proxy);
    });
  }
});

describe('NO_PROXY', () => {
  const table: readonly (readonly [string, string, 'direct' | 'proxied'])[] = [
    ['', VAULT, 'proxied'],
    [',', VAULT, 'proxied'],
    ['.', VAULT, 'proxied'],
    ['*', VAULT, 'direct'],
    ['vault.example', VAULT, 'direct'],
    ['other.example', VAULT, 'proxied'],
    ['VAULT.Example', VAULT, 'direct'],
    ['a.example, vault.example ,b.example', VAULT, 'direct'],
    ['a.example vault.example', VAULT, 'direct'],
    ['a.example\tvault.example', VAULT, 'direct'],
    ['example', VAULT, 'direct'],
    ['.example', VAULT, 'direct'],
    ['*.example', VAULT, 'direct'],
    ['ault.example', VAULT, 'proxied'],
    ['vault.example.org', VAULT, 'proxied'],
    ['vault.example:8200', VAULT, 'direct'],
    ['vault.example:443', VAULT, 'proxied'],
    ['vault.example:443', 'https://vault.example', 'direct'],
    ['.example:8200', VAULT, 'direct'],
    ['10.1.2.3', 'https://10.1.2.3:8200', 'direct'],
    ['10.1.2.3:8200', 'https://10.1.2.3:8200', 'direct'],
    ['10.1.2.3:8201', 'https://10.1.2.3:8200', 'proxied'],
    ['10.1.2.4', 'https://10.1.2.3:8200', 'proxied'],
    ['10.0.0.0/8', 'https://10.1.2.3:8200', 'direct'],
    ['10.1.2.0/24', 'https://10.1.2.3:8200', 'direct'],
    ['10.1.3.0/24', 'https://10.1.2.3:8200', 'proxied'],
    ['10.0.0.0/8', VAULT, 'proxied'],
    ['10.0.0.0/99', 'https://10.1.2.3:8200', 'proxied'],
    ['not-an-address/8', 'https://10.1.2.3:8200', 'proxied'],
    ['2001:db8::1', 'https://[2001:db8::1]:8200', 'direct'],
    ['2001:db8::2', 'https://[2001:db8::1]:8200', 'proxied'],
    ['[2001:db8::1]', 'https://[2001:db8::1]:8200', 'direct'],
    ['[2001:db8::1]:8200', 'https://[2001:db8::1]:8200', 'direct'],
    ['[2001:db8::1]:8201', 'https://[2001:db8::1]:8200', 'proxied'],
    ['2001:db8::/32', 'https://[2001:db8::1]:8200', 'direct'],
    ['2001:db9::/32', 'https://[2001:db8::1]:8200', 'proxied'],
  ];
  for (const [exceptions, address, way] of table) {
    it(`"${exceptions}" and ${address}: ${way}`, () => {
      const expected = way === 'direct' ? undefined : PROXY;
      for (const name of ['NO_PROXY', 'no_proxy']) {
        const env = { HTTPS_PROXY: PROXY, [name]: exceptions };
        assert.equal(proxyFor(address, undefined, env), expected);
      }
    });
  }

  it('an empty one leaves it to no_proxy', () => {
    const env = { HTTPS_PROXY: PROXY, NO_PROXY: '', no_proxy: 'vault.example' };
    assert.equal(proxyFor(VAULT, undefined, env), undefined);
  });
});

describe('the proxy of the configuration', () => {
  it('holds whatever the environment says, for every address', () => {
    const env = { HTTPS_PROXY: 'http://other.example:1', NO_PROXY: '*' };
    for (const address of [VAULT, 'http://vault.example:8200', 'https://127.0.0.1:8200']) {
      assert.equal(proxyFor(address, PROXY, env), PROXY);
    }
  });

  it('never sees what is allowed in clear because it does not leave the host', () => {
    for (const address of ['http://127.0.0.1:8200', 'http://localhost:8200', 'http://[::1]:8200'])
      assert.equal(proxyFor(address, PROXY, {}), undefined);
  });
});

describe('a proxy that is shown', () => {
  it('is so without its user and password', () => {
    assert.equal(shownProxy('http://user:p%40ss@proxy.example:3128'), 'http://proxy.example:3128');
  });
});
