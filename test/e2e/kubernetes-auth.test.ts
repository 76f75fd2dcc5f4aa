import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { auditLog } from '../servers/audit-log.ts';
import { type Etcd, startEtcd } from '../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../servers/kube-apiserver.ts';
import { startPlugin } from '../servers/plugin.ts';
import { startDevVault } from '../servers/vault.ts';
import {
  PLAIN,
  POLICY,
  prepareTransit,
  RELEASES,
  secretFile,
  testFolder,
  vaultConfig,
} from '../vault/vault-under-test.ts';

const OBSERVED_MS = 10_000;
const folder = testFolder();
let etcd: Etcd;
let api: KubeApiserver;

async function post(path: string, body: object): Promise<Readonly<Record<string, unknown>>> {
  const reply = await api.request('POST', path, body);
  assert.ok(reply.status < 300, `${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
  return reply.body as Readonly<Record<string, unknown>>;
}

async function serviceAccount(name: string): Promise<void> {
  await post('/api/v1/namespaces/default/serviceaccounts', { metadata: { name } });
}

/** A token as the kubelet mounts it. */
async function tokenOf(name: string): Promise<string> {
  const { status } = await post(`/api/v1/namespaces/default/serviceaccounts/${name}/token`, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3600 },
  });
  return (status as { token: string }).token;
}

/** Puts a token where a mounted Secret has it: behind a `..data` link that is swapped as a whole. */
function mount(dir: string, generation: string, token: string): string {
  const version = join(dir, generation);
  mkdirSync(version);
  secretFile(version, 'token', token);
  symlinkSync(generation, join(dir, '..data_tmp'));
  renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
  return join(dir, '..data', 'token');
}

describe("Vault's Kubernetes auth against a real kube-apiserver's TokenReview", {
  timeout: 240_000,
}, () => {
  before(async () => {
    const dir = folder.sub('servers');
    etcd = await startEtcd({ dir });
    api = await startKubeApiserver({ dir, etcd: etcd.endpoint });
    for (const name of ['reviewer', 'first', 'second']) await serviceAccount(name);
    await post('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'reviewer' },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'system:auth-delegator',
      },
      subjects: [{ kind: 'ServiceAccount', name: 'reviewer', namespace: 'default' }],
    });
  });
  after(async () => {
    await api?.stop();
    await etcd?.stop();
    folder.remove();
  });

  for (const release of RELEASES) {
    it(`the ${release} Vault: logs in, renews, and reads a swapped token at the next login`, async () => {
      const dir = folder.sub(`vault-${release}`);
      await using vault = await startDevVault({ release, dir });
      const { admin } = vault;
      await prepareTransit(admin);
      await admin.enableAuth('kubernetes');
      await admin.write('auth/kubernetes/config', {
        kubernetes_host: api.address,
        kubernetes_ca_cert: readFileSync(api.caFile, 'utf8'),
        token_reviewer_jwt: await tokenOf('reviewer'),
        disable_local_ca_jwt: true,
      });
      await admin.write('auth/kubernetes/role/trousseau', {
        bound_service_account_names: ['first', 'second'],
        bound_service_account_namespaces: ['default'],
        token_policies: [POLICY],
        token_ttl: '2s',
        token_max_ttl: '4s',
      });
      const audit = await auditLog(admin, dir);
      const mounted = folder.sub(`mounted-${release}`);
      const tokenFile = mount(mounted, '..1', await tokenOf('first'));
      const own = folder.sub(`plugin-${release}`);
      const config = vaultConfig(vault.address, { kubernetes: { role: 'trousseau', tokenFile } });
      await using plugin = await startPlugin({ dir: own, config });
      await plugin.ready();
      const before = audit.count('auth/kubernetes/login');
      // The first identity's token becomes worthless; whoever kept it could not log in again.
      mount(mounted, '..2', await tokenOf('second'));
      secretFile(join(mounted, '..1'), 'token', 'no longer a token');
      const end = Date.now() + OBSERVED_MS;
      while (Date.now() < end) {
        const encrypted = await plugin.client.v2.encrypt(PLAIN, 'uid');
        const { plaintext } = await plugin.client.v2.decrypt({ ...encrypted, uid: 'uid' });
        assert.deepEqual(Buffer.from(plaintext), PLAIN);
        await sleep(100);
      }
      assert.ok(audit.count('auth/kubernetes/login') > before, 'it logged in again');
      assert.ok(audit.count('auth/token/renew-self') > 0, 'it renewed');
    });
  }

  it('a role that is not bound to the ServiceAccount refuses in words', async () => {
    const dir = folder.sub('vault-refused');
    await using vault = await startDevVault({ release: 'newest', dir });
    await prepareTransit(vault.admin);
    await vault.admin.enableAuth('kubernetes');
    await vault.admin.write('auth/kubernetes/config', {
      kubernetes_host: api.address,
      kubernetes_ca_cert: readFileSync(api.caFile, 'utf8'),
      token_reviewer_jwt: await tokenOf('reviewer'),
      disable_local_ca_jwt: true,
    });
    await vault.admin.write('auth/kubernetes/role/trousseau', {
      bound_service_account_names: ['second'],
      bound_service_account_namespaces: ['default'],
      token_policies: [POLICY],
    });
    const own = folder.sub('plugin-refused');
    const tokenFile = secretFile(own, 'jwt', await tokenOf('first'));
    await using plugin = await startPlugin({
      dir: own,
      config: vaultConfig(vault.address, { kubernetes: { role: 'trousseau', tokenFile } }),
    });
    await assert.rejects(
      plugin.client.v2.encrypt(PLAIN, 'uid'),
      /PERMISSION_DENIED.*check the role's bounds/,
    );
  });
});
