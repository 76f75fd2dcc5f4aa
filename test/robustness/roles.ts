/** The AppRole of each plugin, and the tokens that Vault has of it. */
import type { VaultAdmin } from '../servers/vault-admin.ts';
import { POLICY } from '../vault/vault-under-test.ts';
import type { PluginNode } from './nodes.ts';

export type Token = { readonly accessor: string; readonly grantedEpochMs: number };

export type TokenLife = Readonly<Record<string, unknown>>;

export function roleOf(node: number): string {
  return `node-${node}`;
}

/** Makes the role and gives the plugin what it logs in with. */
export async function makeRole(
  admin: VaultAdmin,
  node: PluginNode,
  life: TokenLife,
): Promise<void> {
  const role = roleOf(node.index);
  const parameters = { token_policies: [POLICY], ...life };
  node.writeCredentials(await admin.createAppRole(role, parameters));
}

/** Deletes the role, with what was made for it. Its tokens stay. */
export async function deleteRole(admin: VaultAdmin, node: number): Promise<void> {
  await admin.delete(`auth/approle/role/${roleOf(node)}`);
}

/** Gives the plugin another secret id; answers what destroys the ones before it. */
export async function replaceSecretId(
  admin: VaultAdmin,
  node: PluginNode,
): Promise<(admin: VaultAdmin) => Promise<void>> {
  const path = `auth/approle/role/${roleOf(node.index)}`;
  const before = await keysOf(admin, `${path}/secret-id`);
  const { data } = await admin.write(`${path}/secret-id`);
  node.writeCredentials({ secretId: String(data?.['secret_id']) });
  return async (later) => {
    for (const secret_id_accessor of before)
      await later.write(`${path}/secret-id-accessor/destroy`, { secret_id_accessor });
  };
}

/** The tokens of one plugin that Vault has now. */
export async function tokensOf(admin: VaultAdmin, node: number): Promise<readonly Token[]> {
  const found: Token[] = [];
  for (const accessor of await keysOf(admin, 'auth/token/accessors')) {
    const { status, body } = await admin.request('POST', 'auth/token/lookup-accessor', {
      accessor,
    });
    if (status === 403 || status === 404) continue; // it has ended meanwhile
    if (status !== 200) throw new Error(`looking a token up: ${status}`);
    const { data } = body as { data: TokenData };
    if (data.meta?.['role_name'] !== roleOf(node)) continue;
    // Its revocation has begun, as where Vault was killed meanwhile: nobody can use it, nor revoke it again.
    if ((data.num_uses ?? 0) < 0) continue;
    found.push({ accessor, grantedEpochMs: Date.parse(data.issue_time ?? '') });
  }
  return found;
}

export async function revokeTokens(admin: VaultAdmin, node: number): Promise<void> {
  for (const { accessor } of await tokensOf(admin, node))
    await admin.request('POST', 'auth/token/revoke-accessor', { accessor });
}

type TokenData = {
  readonly meta?: Readonly<Record<string, string>> | null;
  readonly issue_time?: string;
  /** -1 where its revocation has begun (`tokenRevocationPending` in Vault's token store). */
  readonly num_uses?: number;
};

async function keysOf(admin: VaultAdmin, path: string): Promise<readonly string[]> {
  const { status, body } = await admin.request('LIST', path);
  if (status === 404) return [];
  if (status !== 200) throw new Error(`listing ${path}: ${status}`);
  return (body as { data: { keys: string[] } }).data.keys;
}
