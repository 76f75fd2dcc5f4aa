/** What an operator of Vault does: to the key, to the policy, and to what plugins log in with. */
import { setTimeout as sleep } from 'node:timers/promises';
import { transitPolicy } from '../servers/vault-admin.ts';
import { KEY, POLICY } from '../vault/vault-under-test.ts';
import type { Brought, World } from './faults.ts';
import { deleteRole, makeRole, replaceSecretId, revokeTokens } from './roles.ts';
import type { Fault } from './schedule.ts';

/** By then every plugin that reaches Vault has announced a new version, and encrypts with it. */
const ANNOUNCED_MS = 8_000;

/** The lanes `key` and `credentials`. */
export async function keyFault({ kind, node, choice }: Fault, world: World): Promise<Brought> {
  const { asAdmin, nodes, lives } = world;
  const plugin = nodes[node];
  const life = lives[node];
  if (plugin === undefined || life === undefined) throw new Error(`no plugin ${node}`);
  switch (kind) {
    case 'key.rotate':
      return { act: () => asAdmin((admin) => admin.rotateKey(KEY)) };
    case 'key.minimum': {
      const { data } = await asAdmin((admin) => admin.read(`transit/keys/${KEY}`));
      // Below the version that is announced: Encrypt verifies what it answers.
      const margin = rotatedLately(world) || choice < 0.5 ? 1 : 0;
      const minimum = Math.max(1, Number(data?.['latest_version']) - margin);
      return {
        detail: { minimum },
        act: () => asAdmin((a) => a.configureKey(KEY, { min_decryption_version: minimum })),
        takeAway: () => asAdmin((a) => a.configureKey(KEY, { min_decryption_version: 1 })),
      };
    }
    case 'policy.none':
    case 'policy.noDecrypt': {
      const whole = transitPolicy(KEY);
      const rest =
        kind === 'policy.none' ? 'path "sys/none" { capabilities = ["read"] }' : withoutDecrypt();
      return {
        act: () => asAdmin((admin) => admin.writePolicy(POLICY, rest)),
        takeAway: () => asAdmin((admin) => admin.writePolicy(POLICY, whole)),
      };
    }
    case 'token.revoke':
      return { detail: { node }, act: () => asAdmin((admin) => revokeTokens(admin, node)) };
    case 'secret.replace': {
      // As the documents say: the file first, then the old secret ids are destroyed, and here the token too.
      const act = async (): Promise<void> => {
        const destroy = await asAdmin((admin) => replaceSecretId(admin, plugin));
        await sleep(1_000);
        await asAdmin(destroy);
        await asAdmin((admin) => revokeTokens(admin, node));
      };
      return { detail: { node }, act };
    }
    case 'role.replace':
      return {
        detail: { node },
        act: async () => {
          await asAdmin((admin) => deleteRole(admin, node));
          await asAdmin((admin) => revokeTokens(admin, node));
        },
        takeAway: () => asAdmin((admin) => makeRole(admin, plugin, life)),
      };
    default:
      throw new Error(`${kind} is no fault of the key or the credentials`);
  }
}

function rotatedLately({ recorder }: World): boolean {
  const last = recorder.events.findLast((e) => e.e === 'fault' && e.kind === 'key.rotate');
  return last !== undefined && recorder.now() - last.t < ANNOUNCED_MS;
}

function withoutDecrypt(): string {
  return transitPolicy(KEY)
    .split('\n')
    .filter((line) => !line.includes('/decrypt/'))
    .join('\n');
}
