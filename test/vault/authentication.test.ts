import assert from 'node:assert/strict';
import { createSign, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AuditLog, auditLog } from '../servers/audit-log.ts';
import { createAuthority } from '../servers/certificates.ts';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
import { startSealableVault, type Vault } from '../servers/vault.ts';
import type { VaultAdmin } from '../servers/vault-admin.ts';
import {
  PLAIN,
  POLICY,
  prepareTransit,
  RELEASES,
  secretFile,
  testFolder,
  vaultConfig,
} from './vault-under-test.ts';

/** Short enough that a test sees a renewal and the end of the token's life. */
const TTL_S = 3;
const MAX_TTL_S = 7;
const OBSERVED_MS = 12_000;

type Auth = Readonly<Record<string, unknown>>;
type Login = {
  readonly method: string;
  /** Sets the method up in Vault and answers the `auth` of the configuration. */
  readonly configure: (
    admin: VaultAdmin,
    dir: string,
    tokens: Readonly<Record<string, unknown>>,
  ) => Promise<Auth>;
  /** The path on which Vault sees its logins. */
  readonly loginPath: string;
};

/** A JWT as an issuer outside Vault signs it. */
const issuer = generateKeyPairSync('rsa', { modulusLength: 2048 });
function jwt(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createSign('sha256').update(signed).sign(issuer.privateKey, 'base64url')}`;
}

async function appRole(admin: VaultAdmin, mount: string, tokens: object) {
  await admin.enableAuth('approle', mount);
  return await admin.createAppRole('trousseau', { token_policies: [POLICY], ...tokens }, mount);
}

const logins: readonly Login[] = [
  {
    method: 'AppRole',
    loginPath: 'auth/approle/login',
    async configure(admin, dir, tokens) {
      const { roleId, secretId } = await appRole(admin, 'approle', tokens);
      return { appRole: { roleID: roleId, secretIDFile: secretFile(dir, 'secret-id', secretId) } };
    },
  },
  {
    method: 'AppRole under a mount path of its own, with the role id in a file',
    loginPath: 'auth/nodes/control/login',
    async configure(admin, dir, tokens) {
      const { roleId, secretId } = await appRole(admin, 'nodes/control', tokens);
      return {
        appRole: {
          mount: 'nodes/control',
          roleIDFile: secretFile(dir, 'role-id', `${roleId}\n`),
          secretIDFile: secretFile(dir, 'secret-id', `${secretId}\n`),
        },
      };
    },
  },
  {
    method: 'AppRole with a response-wrapped secret id',
    loginPath: 'auth/wrapped/login',
    async configure(admin, dir, tokens) {
      const { roleId } = await appRole(admin, 'wrapped', tokens);
      const { body } = await admin.request(
        'POST',
        'auth/wrapped/role/trousseau/secret-id',
        {},
        { 'x-vault-wrap-ttl': '60s' },
      );
      const { token } = (body as { wrap_info: { token: string } }).wrap_info;
      return {
        appRole: {
          mount: 'wrapped',
          roleID: roleId,
          secretIDFile: secretFile(dir, 'wrapped', token),
          secretIDWrapped: true,
        },
      };
    },
  },
  {
    method: 'AppRole with batch tokens, which cannot be renewed',
    loginPath: 'auth/batch/login',
    async configure(admin, dir, tokens) {
      const { roleId, secretId } = await appRole(admin, 'batch', {
        ...tokens,
        token_type: 'batch',
      });
      return {
        appRole: {
          mount: 'batch',
          roleID: roleId,
          secretIDFile: secretFile(dir, 'secret-id', secretId),
        },
      };
    },
  },
  {
    method: 'userpass',
    loginPath: 'auth/userpass/login/trousseau',
    async configure(admin, dir, tokens) {
      await admin.enableAuth('userpass');
      await admin.write('auth/userpass/users/trousseau', {
        password: 'correct horse',
        token_policies: [POLICY],
        ...tokens,
      });
      return {
        userpass: {
          username: 'trousseau',
          passwordFile: secretFile(dir, 'password', 'correct horse\n'),
        },
      };
    },
  },
  {
    method: 'JWT with the public key given to Vault',
    loginPath: 'auth/jwt/login',
    async configure(admin, dir, tokens) {
      await admin.enableAuth('jwt');
      const pem = issuer.publicKey.export({ type: 'spki', format: 'pem' });
      await admin.write('auth/jwt/config', { jwt_validation_pubkeys: [pem] });
      await admin.write('auth/jwt/role/trousseau', {
        role_type: 'jwt',
        user_claim: 'sub',
        bound_audiences: ['vault'],
        token_policies: [POLICY],
        ...tokens,
      });
      const now = Math.floor(Date.now() / 1000);
      const token = jwt({ sub: 'node-1', aud: 'vault', iat: now, nbf: now - 10, exp: now + 600 });
      return { jwt: { role: 'trousseau', tokenFile: secretFile(dir, 'jwt', token) } };
    },
  },
  {
    method: 'a dedicated token in a KV v2 secret, beside AppRole',
    loginPath: 'auth/dedicated/login',
    async configure(admin, dir, tokens) {
      const { roleId, secretId } = await appRole(admin, 'dedicated', {
        ...tokens,
        token_policies: ['read-dedicated-2'],
      });
      await admin.enableSecrets('kv', 'apps', { version: '2' });
      await admin.writePolicy(
        'read-dedicated-2',
        'path "apps/data/trousseau" { capabilities = ["read"] }',
      );
      const token = await admin.createToken({ policies: [POLICY], period: '1h' });
      await admin.write('apps/data/trousseau', { data: { token } });
      return {
        appRole: {
          mount: 'dedicated',
          roleID: roleId,
          secretIDFile: secretFile(dir, 'secret-id', secretId),
        },
        dedicatedToken: { mount: 'apps', path: 'trousseau' },
      };
    },
  },
  {
    method: 'a dedicated token in a named field of a KV v1 secret, beside userpass',
    loginPath: 'auth/people/login/trousseau',
    async configure(admin, dir, tokens) {
      await admin.enableAuth('userpass', 'people');
      await admin.write('auth/people/users/trousseau', {
        password: 'pw',
        token_policies: ['read-dedicated-1'],
        ...tokens,
      });
      await admin.enableSecrets('kv', 'old', { version: '1' });
      await admin.writePolicy(
        'read-dedicated-1',
        'path "old/team/trousseau" { capabilities = ["read"] }',
      );
      await admin.write('old/team/trousseau', {
        vaultToken: await admin.createToken({ policies: [POLICY], period: '1h' }),
      });
      return {
        userpass: {
          mount: 'people',
          username: 'trousseau',
          passwordFile: secretFile(dir, 'password', 'pw'),
        },
        dedicatedToken: { mount: 'old', path: 'team/trousseau', field: 'vaultToken', kvVersion: 1 },
      };
    },
  },
];

/** Encrypts and decrypts without a pause until the time is over; answers what went wrong. */
async function useFor(
  ms: number,
  { client }: Plugin,
): Promise<{ calls: number; failures: string[] }> {
  const end = Date.now() + ms;
  const failures: string[] = [];
  let calls = 0;
  while (Date.now() < end) {
    try {
      const encrypted = await client.v2.encrypt(PLAIN, `call-${calls}`);
      const { plaintext } = await client.v2.decrypt({ ...encrypted, uid: `call-${calls}` });
      assert.deepEqual(Buffer.from(plaintext), PLAIN);
    } catch (error) {
      failures.push(String(error));
    }
    calls += 1;
    await sleep(50);
  }
  return { calls, failures };
}

const folder = testFolder();
after(() => folder.remove());

for (const release of RELEASES) {
  describe(`logging in to the ${release} Vault`, { timeout: 180_000 }, async () => {
    const dir = folder.sub(release);
    const authority = await createAuthority(dir);
    const server = await authority.issue('server', { commonName: 'vault', hosts: ['127.0.0.1'] });
    const node = await authority.issue('node', { commonName: 'node-1' });
    let vault: Vault;
    let audit: AuditLog;

    it('finds a Vault with TLS, the key and the policy', async () => {
      vault = await startSealableVault({
        release,
        dir,
        tls: { ...server, caFile: authority.caFile },
      });
      await prepareTransit(vault.admin);
      audit = await auditLog(vault.admin, dir);
    });

    const tls = { caFile: authority.caFile };
    const certificate: Login = {
      method: 'a TLS certificate',
      loginPath: 'auth/cert/login',
      async configure(admin, _dir, tokens) {
        await admin.enableAuth('cert');
        await admin.write('auth/cert/certs/nodes', {
          certificate: readFileSync(authority.caFile, 'utf8'),
          allowed_common_names: ['node-1'],
          token_policies: [POLICY],
          ...tokens,
        });
        return { cert: { role: 'nodes', ...node } };
      },
    };

    it('serves without a failed call past renewals and the end of each token, by every method', {
      concurrency: true,
    }, async (t) => {
      const tokens = { token_ttl: `${TTL_S}s`, token_max_ttl: `${MAX_TTL_S}s` };
      await Promise.all(
        [...logins, certificate].map(async ({ method, loginPath, configure }, i) =>
          t.test(method, async () => {
            const own = folder.sub(`${release}-${i}`);
            const auth = await configure(vault.admin, own, tokens);
            await using plugin = await startPlugin({
              dir: own,
              config: vaultConfig(vault.address, auth, { tls }),
            });
            await plugin.ready();
            const { calls, failures } = await useFor(OBSERVED_MS, plugin);
            assert.deepEqual(failures, []);
            assert.ok(calls > 20);
            const least = 'dedicatedToken' in auth ? 1 : 2;
            assert.ok(
              audit.count(loginPath) >= least,
              `${audit.count(loginPath)} logins on ${loginPath}`,
            );
          }),
        ),
      );
      assert.ok(
        audit.count('auth/token/renew-self') >= logins.length - 3,
        'tokens were renewed before their end',
      );
    });

    it('keeps a token of a file alive by renewing it', async () => {
      const own = folder.sub(`${release}-token`);
      const token = await vault.admin.createToken({ policies: [POLICY], period: `${TTL_S}s` });
      const tokenFile = secretFile(own, 'token', token);
      await using plugin = await startPlugin({
        dir: own,
        config: vaultConfig(vault.address, { token: { tokenFile } }, { tls }),
      });
      await plugin.ready();
      const { failures } = await useFor(3 * TTL_S * 1000, plugin);
      assert.deepEqual(failures, []);
    });

    it('takes a new token from the file when the old one was revoked, and says what to do until then', async () => {
      const own = folder.sub(`${release}-token-file`);
      const first = await vault.admin.createToken({ policies: [POLICY] });
      const tokenFile = secretFile(own, 'token', first);
      await using plugin = await startPlugin({
        dir: own,
        config: vaultConfig(vault.address, { token: { tokenFile } }, { tls }),
      });
      await plugin.ready();
      await vault.admin.revokeToken(first);
      await assert.rejects(
        plugin.client.v2.encrypt(PLAIN, 'revoked'),
        /PERMISSION_DENIED.*token.*write a new/,
      );
      secretFile(own, 'token', await vault.admin.createToken({ policies: [POLICY] }));
      await plugin.ready(5_000);
      await plugin.client.v2.encrypt(PLAIN, 'again');
    });

    it('logs in again by itself, once, when its token was revoked in service', async () => {
      const own = folder.sub(`${release}-revoked`);
      await vault.admin.enableAuth('approle', 'revoked');
      const { roleId, secretId } = await vault.admin.createAppRole(
        'trousseau',
        { token_policies: [POLICY], token_period: '1h' },
        'revoked',
      );
      const auth = {
        appRole: {
          mount: 'revoked',
          roleID: roleId,
          secretIDFile: secretFile(own, 'secret-id', secretId),
        },
      };
      await using plugin = await startPlugin({
        dir: own,
        config: vaultConfig(vault.address, auth, { tls }),
      });
      await plugin.ready();
      await vault.admin.write('sys/leases/revoke-prefix/auth/revoked/login');
      const answers = await Promise.allSettled(
        Array.from({ length: 50 }, (_, i) => plugin.client.v2.encrypt(PLAIN, `uid-${i}`)),
      );
      assert.deepEqual([...new Set(answers.map(({ status }) => status))], ['fulfilled']);
      assert.equal(audit.count('auth/revoked/login'), 2);
    });

    it('says that a wrapped secret id was used before, which is a sign of theft', async () => {
      const own = folder.sub(`${release}-stolen`);
      await vault.admin.enableAuth('approle', 'stolen');
      const { roleId } = await vault.admin.createAppRole(
        'trousseau',
        { token_policies: [POLICY] },
        'stolen',
      );
      const { body } = await vault.admin.request(
        'POST',
        'auth/stolen/role/trousseau/secret-id',
        {},
        { 'x-vault-wrap-ttl': '60s' },
      );
      const { token } = (body as { wrap_info: { token: string } }).wrap_info;
      await vault.admin.withToken(token).write('sys/wrapping/unwrap');
      const auth = {
        appRole: {
          mount: 'stolen',
          roleID: roleId,
          secretIDFile: secretFile(own, 'wrapped', token),
          secretIDWrapped: true,
        },
      };
      await using plugin = await startPlugin({
        dir: own,
        config: vaultConfig(vault.address, auth, { tls }),
      });
      await assert.rejects(plugin.client.v2.encrypt(PLAIN, 'uid'), /theft|used before/);
    });

    it('never writes a token, a secret id or a password into its log', async () => {
      const { globSync } = await import('node:fs');
      const logs = globSync(`${folder.path}/${release}-*/plugin.log`);
      assert.ok(logs.length > logins.length);
      for (const file of logs)
        assert.doesNotMatch(
          readFileSync(file, 'utf8'),
          /hvs\.|hvb\.|"[sb]\.[A-Za-z0-9]{20}|correct horse|vault:v\d+:[A-Za-z0-9+/]{33}/,
        );
    });

    after(() => vault?.stop());
  });
}
