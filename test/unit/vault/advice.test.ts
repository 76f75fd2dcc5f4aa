import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import {
  ADVICE,
  adviceFor,
  countsForLockout,
  type Facts,
} from '../../../src/providers/vault/auth/advice.ts';

const LOGIN: Facts = {
  step: 'login',
  status: 400,
  words: '',
  path: 'auth/approle/login',
  capability: 'update',
  method: 'appRole',
  credential: { what: 'the secret id', place: '/etc/secret-id' },
  token: undefined,
};
const JWT = { method: 'jwt', credential: { what: 'the token', place: '/etc/jwt' } };
const USE: Facts = {
  ...LOGIN,
  step: 'use',
  status: 403,
  path: 'transit/keys/k',
  capability: 'read',
};
const OWN = { fresh: true, own: true, good: true, granted: undefined };
const LINE = /path "transit\/keys\/k" { capabilities = \["read"\] }/;
const DENIED = '1 error occurred:\n\t* permission denied\n\n';

/**
 * Facts as they are seen, the situation that they are taken for, and what is said. The words are
 * those of Vault 1.9.3 and 1.21.1; of JWT and certificates those of their plugins in 1.21.1.
 */
const TABLE: readonly (readonly [string, Facts, string, RegExp])[] = [
  [
    'a used wrapping token',
    { ...LOGIN, step: 'unwrap', words: 'wrapping token is not valid or does not exist' },
    'a wrapping token that does not work any more',
    /\/etc\/secret-id has expired or was used before.*look for theft/,
  ],
  [
    'a KV secret that is asked for from an address that the token is not bound to',
    { ...LOGIN, step: 'dedicated token', status: 403, words: 'permission denied' },
    'the login for the dedicated token is granted, and its token is not taken from here',
    /credentials are good.*token_bound_cidrs.*token_num_uses/,
  ],
  [
    'a KV secret that may not be read',
    {
      ...LOGIN,
      step: 'dedicated token',
      status: 403,
      words: DENIED,
      path: 'secret/data/t',
      capability: 'read',
    },
    'the KV secret with the dedicated token may not be read',
    /kvVersion of dedicatedToken right\? .*path "secret\/data\/t" { capabilities = \["read"\] }/,
  ],
  [
    'a dedicated token that nobody has written yet',
    {
      ...LOGIN,
      step: 'dedicated token',
      status: 404,
      words: '',
      path: 'secret/data/t',
      capability: 'read',
    },
    'the KV secret with the dedicated token is not there',
    /no secret at secret\/data\/t: write the token into it, or correct mount, path and kvVersion/,
  ],
  [
    'a mount without a method, 1.9',
    { ...LOGIN, words: 'missing client token' },
    'the method is not there, or not configured',
    /check mount and namespace/,
  ],
  [
    'a method without a configuration',
    { ...LOGIN, ...JWT, words: 'could not load configuration' },
    'the method is not there, or not configured',
    /not configured there/,
  ],
  [
    'a certificate over plain http',
    { ...LOGIN, method: 'cert', words: 'tls connection required' },
    'the method is not there, or not configured',
    /read the configuration/,
  ],
  [
    'an address that the secret id does not allow',
    {
      ...LOGIN,
      words: 'source address "127.0.0.1" unauthorized through CIDR restrictions on the secret ID',
    },
    'the address of this node is not one that the role or the secret id allows',
    /cidr_list.*load balancers/,
  ],
  [
    'an unknown role id, 1.9',
    { ...LOGIN, words: 'invalid role ID' },
    'the role id is unknown (Vault 1.9)',
    /check roleID, roleIDFile and mount/,
  ],
  [
    'a wrong secret id, 1.9',
    { ...LOGIN, words: 'invalid secret id' },
    'the role id or the secret id is wrong',
    /write a new secret id to \/etc\/secret-id/,
  ],
  [
    'a wrong secret id, 1.21',
    { ...LOGIN, words: 'invalid role or secret ID' },
    'the role id or the secret id is wrong',
    /write a new secret id to \/etc\/secret-id/,
  ],
  [
    'a wrong password',
    {
      ...LOGIN,
      method: 'userpass',
      words: 'invalid username or password',
      credential: { what: 'the password', place: '/etc/pw' },
    },
    'the name or the password is wrong',
    /password in \/etc\/pw is not that of the user/,
  ],
  [
    'an unknown role of JWT',
    { ...LOGIN, ...JWT, words: 'role "x" could not be found' },
    'the role is unknown (JWT, Kubernetes)',
    /check role and mount/,
  ],
  [
    'an unknown role of Kubernetes',
    { ...LOGIN, ...JWT, method: 'kubernetes', words: 'invalid role name "x"' },
    'the role is unknown (JWT, Kubernetes)',
    /check role and mount/,
  ],
  ...[
    'error verifying token signature: no known key successfully validated the token signature',
    'error verifying token signature: failed to verify id token signature',
    'error validating token: id token signed with unsupported algorithm, expected ["RS256"] got "ES256"',
  ].map(
    (words) =>
      [
        `a JWT of which Vault says: ${words}`,
        { ...LOGIN, ...JWT, words },
        'a JWT whose signature Vault cannot verify',
        /no key that the token in \/etc\/jwt.*jwt_validation_pubkeys.*jwks_url/,
      ] as const,
  ),
  [
    'a JWT of another issuer',
    { ...LOGIN, ...JWT, words: 'error validating token: invalid issuer (iss) claim' },
    'a JWT of another issuer',
    /\/etc\/jwt is of another issuer.*bound_issuer/,
  ],
  [
    'a JWT for another audience',
    { ...LOGIN, ...JWT, words: 'error validating token: invalid audience (aud) claim' },
    'a JWT that does not fit the role, or is too old',
    /\/etc\/jwt.*audience, subject and claims/,
  ],
  ...['service account name not authorized', 'namespace not authorized'].map(
    (words) =>
      [
        `a ServiceAccount of which Vault says: ${words}`,
        { ...LOGIN, ...JWT, method: 'kubernetes', status: 403, words },
        'a ServiceAccount that the role is not bound to',
        /\/etc\/jwt.*bound_service_account_names/,
      ] as const,
  ),
  [
    'a certificate that no role takes',
    {
      ...LOGIN,
      method: 'cert',
      words: 'failed to match all constraints for this login certificate',
      credential: { what: 'the certificate', place: '/etc/node.pem' },
    },
    'a TLS certificate that no role takes',
    /\/etc\/node\.pem.*validity/,
  ],
  [
    'a user who is locked out, 1.13 and newer',
    { ...LOGIN, status: 403, words: 'permission denied' },
    'a login that is refused without a reason, by a method that locks users out',
    /locked this user out.*entity.*disabled.*mount/,
  ],
  ...[
    'invalid expiration time (exp) claim: token is expired',
    'invalid not before (nbf) claim: token not yet valid',
  ].map(
    (words) =>
      [
        `a token of a ServiceAccount of which Vault says: ${words}`,
        { ...LOGIN, ...JWT, method: 'kubernetes', status: 403, words },
        'a JWT that does not fit the role, or is too old',
        /\/etc\/jwt.*its end/,
      ] as const,
  ),
  [
    'a TokenReview that was refused, or not answered',
    { ...LOGIN, ...JWT, method: 'kubernetes', status: 403, words: 'permission denied' },
    "a ServiceAccount's token of which Vault does not say why",
    /kubernetes_host.*token_reviewer_jwt.*\/etc\/jwt/,
  ],
  [
    'a method of Kubernetes with a role and without a configuration',
    {
      ...LOGIN,
      ...JWT,
      method: 'kubernetes',
      status: 500,
      words: 'could not load backend configuration',
    },
    'the method is not there, or not configured',
    /not enabled at this mount, or not configured/,
  ],
  [
    'a login that is refused by 403',
    { ...LOGIN, ...JWT, status: 403, words: 'permission denied' },
    'a login that is refused without a reason',
    /check mount, namespace and role.*entity/,
  ],
  [
    'a policy without the path',
    { ...USE, words: DENIED, token: { ...OWN, granted: ['deny'] } },
    'the token is good, and its policy does not allow the path',
    LINE,
  ],
  [
    'the same, of an old token of a file',
    {
      ...USE,
      words: DENIED,
      token: { fresh: false, own: false, good: true, granted: ['list'] },
    },
    'the token is good, and its policy does not allow the path',
    LINE,
  ],
  [
    'the same, without the default policy',
    { ...USE, words: DENIED, token: OWN },
    'the token is good and may not ask what it may do, for lack of the default policy',
    LINE,
  ],
  [
    'allowed_parameters',
    { ...USE, words: DENIED, token: { ...OWN, granted: ['read'] } },
    'the token is good, and its policy allows the path, but not this request',
    /remove allowed_parameters.*min_wrapping_ttl.*transit\/keys\/k/,
  ],
  [
    'token_bound_cidrs',
    { ...USE, words: 'permission denied', token: { ...OWN, good: false } },
    'Vault granted the token seconds ago, and does not take it from here',
    /credentials are good.*token_bound_cidrs.*token_num_uses/,
  ],
  [
    'a revoked token of a file',
    {
      ...USE,
      words: 'permission denied',
      credential: { what: 'the token', place: '/etc/token' },
      token: { fresh: true, own: false, good: false, granted: undefined },
    },
    'a token of a file or a KV secret that Vault does not know',
    /\/etc\/token was revoked or has expired: write a new token there.*entity/,
  ],
  [
    'an old token of a login that was revoked',
    {
      ...USE,
      words: 'invalid token',
      token: { fresh: false, own: true, good: false, granted: undefined },
    },
    'a token of a login that Vault does not know any more',
    /a new login follows/,
  ],
];

describe('the advice', () => {
  for (const [what, facts, situation, said] of TABLE) {
    it(`${what}: ${situation}`, () => {
      assert.equal(ADVICE.find(({ when }) => when(facts))?.situation, situation);
      assert.match(adviceFor(facts), said);
    });
  }

  it('has an example of each line here, and no line twice', () => {
    const lines = ADVICE.map(({ situation }) => situation);
    assert.equal(new Set(lines).size, lines.length);
    assert.deepEqual([...new Set(TABLE.map(([, , situation]) => situation))].sort(), lines.sort());
  });

  it('has each line in docs/authentication.md, and the document no other', () => {
    const path = new URL('../../../docs/authentication.md', import.meta.url);
    const [, section = ''] = readFileSync(path, 'utf8').split(
      '### What is said where Vault refuses',
    );
    const rows = [...(section.split('\n## ')[0] ?? '').matchAll(/^\| (?!situation)([^|]+?) \|/gm)];
    const lines = ADVICE.map(({ situation }) => situation);
    assert.deepEqual(rows.map(([, situation]) => situation).sort(), lines.sort());
  });

  it('never blames credentials for a token that is good or seconds old', () => {
    for (const [, facts] of TABLE) {
      const { token } = facts;
      if (token === undefined || !(token.good || (token.fresh && token.own))) continue;
      assert.doesNotMatch(adviceFor(facts), /write a new|expired|no longer valid/);
    }
  });

  it('names path, capability and the policy line wherever a policy is the cause', () => {
    for (const capability of ['read', 'update'] as const)
      for (const granted of [undefined, ['deny'], ['list']]) {
        const said = adviceFor({ ...USE, capability, token: { ...OWN, granted } });
        assert.ok(said.includes(`path "transit/keys/k" { capabilities = ["${capability}"] }`));
      }
  });
});

describe('a refused login that may count for a lock-out', () => {
  for (const [status, words, counts] of [
    [400, 'invalid role or secret ID', true],
    [400, 'invalid username or password', true],
    [400, 'source address "127.0.0.1" unauthorized by CIDR restrictions', false],
    [400, 'missing secret_id', false],
    [403, 'permission denied', false],
    [500, 'internal error', false],
  ] as const) {
    it(`${counts ? 'is' : 'is not'} ${status} ${words}`, () =>
      assert.equal(countsForLockout(status, words), counts));
  }
});
