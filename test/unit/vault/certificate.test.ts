import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { certificateFault, type Shown } from '../../../src/providers/vault/certificate.ts';
import { connectionErrorOf } from '../../../src/providers/vault/errors.ts';

const NOW = Date.parse('2026-11-27T12:00:00Z');
const distinguished = (CN: string) => ({ C: '', ST: '', L: '', O: '', OU: '', CN });
/** As Node's getPeerCertificate gives it. */
const PEER: Shown = {
  subject: distinguished('vault'),
  issuer: distinguished('Example Root CA'),
  subjectaltname: 'DNS:vault.internal, DNS:*.vault.internal, IP Address:10.0.0.1',
  valid_from: 'Nov 27 12:00:00 2025 GMT',
  valid_to: 'Nov 20 12:00:00 2026 GMT',
};
const later = { ...PEER, valid_to: 'Nov 20 12:00:00 2027 GMT' };
const sentence = (code: string, peer: Shown | undefined): string => {
  const error = certificateFault(
    Object.assign(new Error('x'), { code }),
    peer,
    'vault.example',
    NOW,
  );
  return connectionErrorOf('asking', 'https://vault.example', error).error.message;
};

describe('a certificate that is not accepted', () => {
  const table: readonly (readonly [string, Shown | undefined, readonly RegExp[]])[] = [
    ['CERT_HAS_EXPIRED', PEER, [/expired on Nov 20 12:00:00 2026 GMT/, /2026-11-27T12:00:00/]],
    ['CERT_HAS_EXPIRED', later, [/an authority of its certificate has expired/, /Example Root CA/]],
    ['CERT_NOT_YET_VALID', PEER, [/not valid before Nov 27 12:00:00 2025/, /2026-11-27T12:00:00/]],
    [
      'ERR_TLS_CERT_ALTNAME_INVALID',
      PEER,
      [
        /is for vault\.internal, \*\.vault\.internal, 10\.0\.0\.1, not for vault\.example/,
        /serverName/,
      ],
    ],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', PEER, [/issued by Example Root CA/, /tls\.caFile/]],
    ['SELF_SIGNED_CERT_IN_CHAIN', PEER, [/issued by Example Root CA/]],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', PEER, [/issued by Example Root CA/]],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', PEER, [/signed by itself \(vault\)/]],
    ['CERT_HAS_EXPIRED', undefined, [/somebody who is not named/]],
  ];
  for (const [code, peer, patterns] of table) {
    it(`${code}${peer === undefined ? ', and none was seen' : ''}: the facts, and what to do`, () => {
      const said = sentence(code, peer);
      for (const pattern of [...patterns, new RegExp(code)]) assert.match(said, pattern);
    });
  }

  it('is not what any other error is about', () => {
    const error = Object.assign(new Error('x'), { code: 'ECONNRESET' });
    assert.equal(certificateFault(error, PEER, 'vault.example', NOW), undefined);
  });

  it('shows what a stranger has written into it on one line', () => {
    const peer = { ...PEER, issuer: distinguished(`evil\nlevel=error\u202e ${'x'.repeat(500)}`) };
    const said = sentence('SELF_SIGNED_CERT_IN_CHAIN', peer);
    assert.doesNotMatch(said, /[\p{C}]/u);
    assert.ok(said.length < 600);
  });
});
