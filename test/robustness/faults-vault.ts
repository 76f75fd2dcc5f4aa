/** Faults of Vault's servers. */
import type { Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import type { Brought, World } from './faults.ts';
import type { Fault } from './schedule.ts';

const CHOICE_MS = 60_000;

/** One server at a time, the active one or a standby; or all of them sealed. */
export async function vaultFault({ kind, role, choice }: Fault, world: World): Promise<Brought> {
  const { cluster } = world;
  if (kind === 'vault.sealAll') {
    return {
      act: () => cluster.sealAll(),
      takeAway: async () => {
        for (const node of cluster.nodes) await cluster.unseal(node);
        await cluster.settled();
      },
    };
  }
  const node = await chosen(world, role, choice);
  const detail = { server: cluster.nodes.indexOf(node), role };
  const restart = async (): Promise<void> => {
    await node.start();
    await unseal(world, node);
  };
  switch (kind) {
    case 'vault.kill':
      return { detail, act: () => node.stop('kill'), takeAway: restart };
    case 'vault.stop':
      return { detail, act: () => node.stop(), takeAway: restart };
    case 'vault.pause': {
      const takeAway = async (): Promise<void> => {
        node.process.resume();
        await cluster.settled();
      };
      return { detail, act: async () => node.process.pause(), takeAway };
    }
    case 'vault.seal':
      // A standby cannot be told to seal itself: it is sealed after a restart.
      return {
        detail,
        act: async () => {
          if (role === 'active') return void (await (await cluster.admin()).write('sys/seal'));
          await node.stop('kill');
          await node.start();
        },
        takeAway: () => unseal(world, node),
      };
    default:
      throw new Error(`${kind} is no fault of Vault's servers`);
  }
}

async function unseal({ cluster }: World, node: Vault): Promise<void> {
  await cluster.unseal(node);
  await cluster.settled();
}

/** Waits for a server of that role: there may be none for a moment. */
async function chosen(
  { cluster }: World,
  role: 'active' | 'standby',
  choice: number,
): Promise<Vault> {
  const found: Vault[] = [];
  await waitUntil(`a server that is ${role}`, CHOICE_MS, async () => {
    const active = await cluster.active();
    const candidates = role === 'active' ? [active] : await cluster.standbys();
    const one = candidates[Math.floor(choice * candidates.length)];
    if (one !== undefined) found.push(one);
    return one !== undefined;
  });
  const [node] = found;
  if (node === undefined) throw new Error('waitUntil has resolved without one');
  return node;
}
