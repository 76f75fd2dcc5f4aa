/** A real Vault for a node of the tests, and step 4 of docs/install-offline.md with it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority } from '../servers/certificates.ts';
import { startSealableVault, type Vault } from '../servers/vault.ts';
import type { AppRole } from '../servers/vault-admin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { KEY, POLICY, prepareTransit } from '../vault/vault-under-test.ts';
import { writeInside } from './installation.ts';
import type { Shell } from './nspawn.ts';
import { commandOf, typed } from './offline-document.ts';

export const CA = '/etc/trousseau/ca.pem';
export const ROLE_ID = '/etc/trousseau/role-id';
export const SECRET_ID = '/etc/trousseau/secret-id';
/** Where step 2 leaves whoever types. */
export const COPY = '/srv/trousseau';

export type VaultOfNode = {
  readonly vault: Vault;
  readonly role: AppRole;
  readonly caFile: string;
  /** A configuration that names it, with what stands in `auth.appRole`. */
  config(identity: string): string;
};

/**
 * Over TLS, with a role for the plugin; `host` is how the node knows this machine's loopback, and `requestTimeout` how
 * long the plugin's requests may take, as the configuration writes it.
 */
export async function startVaultOfNode(
  dir: string,
  host = '127.0.0.1',
  requestTimeout = '2s',
): Promise<VaultOfNode> {
  const authority = await createAuthority(dir);
  const hosts = [...new Set(['127.0.0.1', host])];
  const pair = await authority.issue('vault', { commonName: 'vault', hosts });
  const { caFile } = authority;
  const vault = await startSealableVault({ release: 'newest', dir, tls: { ...pair, caFile } });
  await prepareTransit(vault.admin);
  await vault.admin.enableAuth('approle');
  const parameters = { token_policies: [POLICY], token_period: '1h' };
  const role = await vault.admin.createAppRole('trousseau', parameters);
  const config = (identity: string): string => `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
providers:
  - name: vault
    vault:
      addresses: ['https://${host}:${vault.port}']
      key: ${KEY}
      requestTimeout: ${requestTimeout}
      tls: {caFile: ${CA}}
      auth:
        appRole: {${identity}}
`;
  return { vault, role, caFile, config };
}

/** Types step 4 on a node where steps 2 and 3 are done; resolves when the plugin says that it is ready. */
export async function typeStep4(
  node: Shell,
  { role, caFile, config }: VaultOfNode,
  limitMs: number,
): Promise<void> {
  await writeInside(node, join(COPY, 'ca.pem'), readFileSync(caFile, 'utf8'), 0o644);
  await writeInside(node, join(COPY, 'role-id'), `${role.roleId}\n`, 0o600);
  await writeInside(node, join(COPY, 'secret-id'), `${role.secretId}\n`, 0o600);
  const identity = `roleIDFile: ${ROLE_ID}, secretIDFile: ${SECRET_ID}`;
  await writeInside(node, '/tmp/config.yaml', config(identity), 0o644);
  await writeInside(node, '/tmp/edit', '#!/bin/sh\ncp /tmp/config.yaml "$1"\n', 0o755);
  const lines = commandOf('## 4. Configure and start').trimEnd().split('\n');
  const ask = lines.pop() ?? '';
  await node.must(typed(['export EDITOR=/tmp/edit', ...lines].join('\n')));
  await waitUntil('an answer that it is ready', limitMs, async () => {
    const answer = await node.must(typed(ask));
    if (!answer.includes('"status":"ok"')) throw new Error(answer);
    return true;
  });
}
