import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { AuthConfig } from '../../src/config/schema.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import { transitPolicy, type VaultAdmin } from '../servers/vault-admin.ts';
import { providerOn } from './provider-on.ts';
import { KEY, POLICY, prepareTransit, RELEASES, testFolder } from './vault-under-test.ts';

type Case = {
  readonly situation: string;
  readonly configure: (
    admin: VaultAdmin,
  ) => Promise<{ readonly auth: AuthConfig; readonly secret: string; readonly key?: string }>;
  /** What is said of it, by every Vault. */
  readonly said: RegExp;
  /** What must not be said, since it is untrue here. */
  readonly untrue?: RegExp;
};

const BLAMES_THE_CREDENTIAL = /write a new|secret id has expired|revoked or has expired/;
const NOWHERE = '192.0.2.11/32';
let mounts = 0;

/** AppRole under a mount of its own, so that lock-outs and roles do not meet. */
async function appRole(
  admin: VaultAdmin,
  role: Readonly<Record<string, unknown>>,
  change: Partial<{ roleID: string; secret: string; mount: string }> = {},
) {
  mounts += 1;
  const mount = `approle-${mounts}`;
  await admin.enableAuth('approle', mount);
  const { roleId, secretId } = await admin.createAppRole('r', role, mount);
  const method = {
    mount: change.mount ?? mount,
    roleID: change.roleID ?? roleId,
    secretIDFile: '/etc/secret-id',
    secretIDWrapped: false,
  };
  return { auth: { appRole: method }, secret: change.secret ?? secretId };
}

const token = { token: { tokenFile: '/etc/token' } };

const CASES: readonly Case[] = [
  {
    situation: 'the policy of Trousseau 1.1.3, which lacks read on the key',
    async configure(admin) {
      const old = transitPolicy(KEY)
        .split('\n')
        .filter((line) => !line.includes('/keys/'))
        .join('\n');
      await admin.writePolicy('old', old);
      return await appRole(admin, { token_policies: ['old'] });
    },
    said: /no policy of it allows read on transit\/keys\/kubernetes.*path "transit\/keys\/kubernetes" { capabilities = \["read"\] }/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'a slip in the name of the key',
    configure: async (admin) => ({
      ...(await appRole(admin, { token_policies: [POLICY] })),
      key: 'kubernets',
    }),
    said: /no policy of it allows read on transit\/keys\/kubernets: is the name right/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'a policy without the default one, and without the key',
    configure: (admin) =>
      appRole(admin, { token_policies: ['nothing'], token_no_default_policy: true }),
    said: /does not allow read on transit\/keys\/kubernetes/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'allowed_parameters that do not fit',
    async configure(admin) {
      const narrow = `path "transit/keys/${KEY}" { capabilities = ["read"] denied_parameters = { "*" = [] } required_parameters = ["x"] }`;
      await admin.writePolicy('narrow', narrow);
      return await appRole(admin, { token_policies: ['narrow'] });
    },
    said: /a policy allows read on transit\/keys\/kubernetes, but not this request: remove allowed_parameters/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'a rule that denies the path, beside the policy that allows it',
    async configure(admin) {
      await admin.writePolicy('deny', `path "transit/keys/${KEY}" { capabilities = ["deny"] }`);
      return await appRole(admin, { token_policies: [POLICY, 'deny'] });
    },
    said: /no policy of it allows read on transit\/keys\/kubernetes.*remove every rule for that path that has deny/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'allowed_parameters that do not fit, for a token that may not ask what it may do',
    async configure(admin) {
      const narrow = `path "transit/keys/${KEY}" { capabilities = ["read"] required_parameters = ["x"] }`;
      await admin.writePolicy('narrow-alone', narrow);
      const policies = { token_policies: ['narrow-alone'], token_no_default_policy: true };
      return await appRole(admin, policies);
    },
    said: /where the line is there, remove .*required_parameters/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'min_wrapping_ttl, as a policy has it for answers that are to be wrapped',
    async configure(admin) {
      const wrapped = `path "transit/keys/${KEY}" { capabilities = ["read"] min_wrapping_ttl = "1s" }`;
      await admin.writePolicy('wrapped', wrapped);
      return await appRole(admin, { token_policies: ['wrapped'] });
    },
    said: /a policy allows read on transit\/keys\/kubernetes, but not this request: remove .*min_wrapping_ttl/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'an entity that is disabled',
    async configure(admin) {
      const { auth, secret } = await appRole(admin, { token_policies: [POLICY] });
      const login = { role_id: auth.appRole.roleID, secret_id: secret };
      const { body } = await admin.request('POST', `auth/${auth.appRole.mount}/login`, login);
      const { entity_id } = (body as { auth: { entity_id: string } }).auth;
      await admin.write(`identity/entity/id/${entity_id}`, { disabled: true });
      return { auth, secret };
    },
    said: /does not say why.*the entity of this login is disabled/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'token_bound_cidrs of another address',
    configure: (admin) =>
      appRole(admin, { token_policies: [POLICY], token_bound_cidrs: [NOWHERE] }),
    said: /granted this token seconds ago.*token_bound_cidrs/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'secret_id_bound_cidrs of another address',
    configure: (admin) =>
      appRole(admin, { token_policies: [POLICY], secret_id_bound_cidrs: [NOWHERE] }),
    said: /allows? other addresses than the one that Vault sees.*secret_id_bound_cidrs/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'a wrong secret id',
    configure: (admin) => appRole(admin, { token_policies: [POLICY] }, { secret: 'no-such-id' }),
    said: /write a new secret id to \/etc\/secret-id.*the next try is at .*SIGHUP/,
  },
  {
    situation: 'a wrong role id',
    configure: (admin) => appRole(admin, { token_policies: [POLICY] }, { roleID: 'no-such-role' }),
    said: /role id.*the next try is at/,
  },
  {
    situation: 'a mount where nothing is',
    configure: (admin) => appRole(admin, { token_policies: [POLICY] }, { mount: 'nowhere' }),
    said: /check mount and namespace/,
    untrue: /write a new secret id/,
  },
  {
    situation: 'a wrong password',
    async configure(admin) {
      mounts += 1;
      const mount = `userpass-${mounts}`;
      await admin.enableAuth('userpass', mount);
      await admin.write(`auth/${mount}/users/u`, { password: 'right' });
      const userpass = { mount, username: 'u', passwordFile: '/etc/password' };
      return { auth: { userpass }, secret: 'wrong' };
    },
    said: /the password in \/etc\/password is not that of the user.*the next try is at/,
  },
  {
    situation: 'a method that is not configured',
    async configure(admin) {
      mounts += 1;
      const mount = `jwt-${mounts}`;
      await admin.enableAuth('jwt', mount);
      return { auth: { jwt: { mount, role: 'r', tokenFile: '/etc/jwt' } }, secret: 'e30.e30.x' };
    },
    said: /not enabled at this mount, or not configured there/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'a token of a file that was revoked',
    async configure(admin) {
      const made = await admin.createToken({ policies: [POLICY] });
      await admin.revokeToken(made);
      return { auth: token, secret: made };
    },
    said: /the token in \/etc\/token was revoked or has expired: write a new token there/,
  },
  {
    situation: 'a token of a file whose policy lacks the key',
    configure: async (admin) => ({
      auth: token,
      secret: await admin.createToken({ policies: ['nothing'] }),
    }),
    said: /no policy of it allows read on transit\/keys\/kubernetes/,
    untrue: BLAMES_THE_CREDENTIAL,
  },
  {
    situation: 'a KV secret that may not be read',
    async configure(admin) {
      const { auth, secret } = await appRole(admin, { token_policies: ['nothing'] });
      const dedicatedToken = { mount: 'secret', path: 't', field: 'token', kvVersion: 2 } as const;
      return { auth: { ...auth, dedicatedToken }, secret };
    },
    said: /may not read the secret.*path "secret\/data\/t" { capabilities = \["read"\] }/,
    untrue: /write a new secret id/,
  },
];

const folder = testFolder();
after(() => folder.remove());
const signal = (): AbortSignal => AbortSignal.timeout(10_000);

for (const release of RELEASES) {
  describe(`what is said where the ${release} Vault refuses`, { timeout: 120_000 }, () => {
    let vault: DevVault;
    before(async () => {
      vault = await startDevVault({ release, dir: folder.sub(release) });
      await prepareTransit(vault.admin);
    });
    after(() => vault.stop());

    for (const { situation, configure, said, untrue } of CASES) {
      it(`${situation}: the same each time, and true`, async () => {
        const { auth, secret, key } = await configure(vault.admin);
        const provider = providerOn([vault.address], auth, () => secret, key);
        const sentences = new Set<string>();
        for (let i = 0; i < 4; i += 1) {
          const described = await provider.describe(signal());
          assert.ok(!described.ok);
          assert.equal(described.error.kind, 'denied');
          sentences.add(described.error.message);
        }
        await provider.stop();
        const [sentence = '', ...others] = sentences;
        assert.deepEqual(others, []);
        assert.match(sentence, said);
        if (untrue !== undefined) assert.doesNotMatch(sentence, untrue);
        assert.doesNotMatch(sentence, new RegExp(secret.slice(0, 20)));
      });
    }

    if (release === 'newest') {
      it('a role that is locked out, by another node: said as such, and tried within 30 s', async () => {
        const { auth, secret } = await appRole(vault.admin, { token_policies: [POLICY] });
        const { mount, roleID } = auth.appRole;
        for (let i = 0; i < 6; i += 1)
          await vault.admin.request('POST', `auth/${mount}/login`, {
            role_id: roleID,
            secret_id: 'x',
          });
        const provider = providerOn([vault.address], auth, () => secret);
        const described = await provider.describe(signal());
        await provider.stop();
        assert.ok(!described.ok);
        assert.match(described.error.message, /has locked this user out.*sys\/locked-users/);
      });
    }

    it("a JWT whose signer's keys Vault cannot fetch: an outage, which ends with that of the signer", async () => {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const keys = [{ ...publicKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: '1' }];
      const signer = createServer((_request, response) => {
        response.writeHead(signs ? 200 : 503, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ keys }));
      });
      let signs = true;
      await new Promise<void>((resolve) => signer.listen(0, '127.0.0.1', resolve));
      const { port } = signer.address() as AddressInfo;
      await vault.admin.enableAuth('jwt');
      await vault.admin.write('auth/jwt/config', { jwks_url: `http://127.0.0.1:${port}/` });
      await vault.admin.write('auth/jwt/role/r', {
        role_type: 'jwt',
        user_claim: 'sub',
        bound_audiences: ['vault'],
        token_policies: [POLICY],
      });
      const part = (value: object): string =>
        Buffer.from(JSON.stringify(value)).toString('base64url');
      const head = part({ alg: 'ES256', kid: '1' });
      const now = Math.floor(Date.now() / 1000);
      const text = `${head}.${part({ sub: 'node-1', aud: 'vault', nbf: 1, exp: now + 600 })}`;
      const signature = sign('sha256', Buffer.from(text), {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
      });
      const jwt = `${text}.${signature.toString('base64url')}`;
      const auth = { jwt: { mount: 'jwt', role: 'r', tokenFile: '/etc/jwt' } };
      const provider = providerOn([vault.address], auth, () => jwt);
      signs = false;
      const away = await provider.describe(signal());
      assert.ok(!away.ok);
      assert.equal(away.error.kind, 'unavailable');
      assert.match(away.error.message, /cannot fetch the public keys.*jwks_url/);
      signs = true;
      assert.ok((await provider.describe(signal())).ok);
      await provider.stop();
      signer.closeAllConnections();
      await new Promise((resolve) => signer.close(resolve));
    });

    for (const [what, forged, config, role, said] of [
      ['signed with another key', 'key', {}, {}, /no key that the token in \/etc\/jwt/],
      ['of another issuer', 'issuer', { bound_issuer: 'here' }, {}, /another issuer.*bound_issuer/],
      ['for another audience', 'none', {}, { bound_audiences: ['x'] }, /does not fit the role/],
    ] as const) {
      it(`a JWT ${what}: what is at fault, and not another thing`, async () => {
        const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
        const [known, other] = [pair(), pair()];
        mounts += 1;
        const mount = `jwt-${mounts}`;
        await vault.admin.enableAuth('jwt', mount);
        await vault.admin.write(`auth/${mount}/config`, {
          jwt_validation_pubkeys: [known.publicKey.export({ type: 'spki', format: 'pem' })],
          ...config,
        });
        await vault.admin.write(`auth/${mount}/role/r`, {
          ...{ role_type: 'jwt', user_claim: 'sub', bound_audiences: ['vault'] },
          ...{ token_policies: [POLICY], ...role },
        });
        const part = (value: object): string =>
          Buffer.from(JSON.stringify(value)).toString('base64url');
        const claims = { sub: 'node-1', aud: 'vault', iss: 'there', nbf: 1 };
        const exp = Math.floor(Date.now() / 1000) + 600;
        const text = `${part({ alg: 'ES256' })}.${part({ ...claims, exp })}`;
        const { privateKey } = forged === 'key' ? other : known;
        const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const;
        const jwt = `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`;
        const auth = { jwt: { mount, role: 'r', tokenFile: '/etc/jwt' } };
        const provider = providerOn([vault.address], auth, () => jwt);
        const described = await provider.describe(signal());
        await provider.stop();
        assert.ok(!described.ok);
        assert.equal(described.error.kind, 'denied');
        assert.match(described.error.message, said);
      });
    }

    it('a policy that is broken and mended: the call after that succeeds, and a later revocation is seen by nobody', async () => {
      const policy = `mended-${release}`;
      await vault.admin.writePolicy(policy, transitPolicy(KEY));
      const { auth, secret } = await appRole(vault.admin, {
        token_policies: [policy],
        token_period: '1h',
      });
      const provider = providerOn([vault.address], auth, () => secret);
      assert.ok((await provider.describe(signal())).ok);
      await vault.admin.writePolicy(policy, 'path "transit/none" { capabilities = ["read"] }');
      const broken = await provider.describe(signal());
      assert.match(broken.ok ? '' : broken.error.message, /no policy of it allows read/);
      await vault.admin.writePolicy(policy, transitPolicy(KEY));
      assert.ok((await provider.describe(signal())).ok);
      await vault.admin.write(`sys/leases/revoke-prefix/auth/${auth.appRole.mount}/login`);
      assert.ok((await provider.describe(signal())).ok);
      await provider.stop();
    });
  });
}
