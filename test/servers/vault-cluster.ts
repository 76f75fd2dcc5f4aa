/** A real Vault of three nodes on raft storage, without TLS: one is active, the others forward to it. */
import { jsonRequest } from './json-request.ts';
import { startSealableVault, type Vault, type VaultRelease } from './vault.ts';
import { type VaultAdmin, vaultAdmin } from './vault-admin.ts';
import { waitUntil } from './wait-until.ts';

const NODES = 3;
const START_MS = 60_000;
const LOOK_MS = 1_000;
/** https://developer.hashicorp.com/vault/api-docs/system/health */
const ACTIVE = 200;
const STANDBY = 429;

export type VaultClusterOptions = {
  readonly release: VaultRelease;
  /** The test's own folder. */
  readonly dir: string;
};

export type VaultCluster = AsyncDisposable & {
  readonly nodes: readonly Vault[];
  /** With the root token, at the node that is active now. */
  admin(): Promise<VaultAdmin>;
  /** The node that says so of itself; undefined while there is none. */
  active(): Promise<Vault | undefined>;
  /** A paused node answers nothing, and so counts as neither. */
  standbys(): Promise<readonly Vault[]>;
  /** All are sealed then: the active node is told to, standbys must be started again for that. */
  sealAll(): Promise<void>;
  unseal(node: Vault): Promise<void>;
  /** Resolves when one node is active and all others are standbys of it. */
  settled(): Promise<void>;
};

/** Starts the nodes, joins and unseals them. */
export async function startVaultCluster(options: VaultClusterOptions): Promise<VaultCluster> {
  const nodes: Vault[] = [];
  await using started = new AsyncDisposableStack();
  for (let i = 0; i < NODES; i += 1) {
    const node = { storage: 'raft', nodeId: `node-${i}`, initialise: false } as const;
    nodes.push(started.use(await startSealableVault({ ...options, ...node })));
  }
  const [first, ...others] = nodes;
  if (first === undefined) throw new Error('a cluster has nodes');
  const shares = { secret_shares: 1, secret_threshold: 1 };
  const { keys, root_token } = (await first.admin.write('sys/init', shares)) as unknown as {
    keys: [string];
    root_token: string;
  };
  const withRoot = ({ address }: Vault): VaultAdmin => vaultAdmin({ address }, root_token);
  const unseal = async (node: Vault): Promise<void> => {
    await node.admin.write('sys/unseal', { key: keys[0] });
  };
  const inState = async (status: number): Promise<readonly Vault[]> => {
    const seen = await Promise.all(nodes.map(healthOf));
    return nodes.filter((_, i) => seen[i] === status);
  };
  const active = async (): Promise<Vault | undefined> => (await inState(ACTIVE))[0];
  const admin = async (): Promise<VaultAdmin> => {
    const node = await active();
    if (node === undefined) throw new Error('no node is active');
    return withRoot(node);
  };
  const settled = async (): Promise<void> => {
    await waitUntil('one active node and two standbys', START_MS, async () => {
      const [states, leaders] = await Promise.all([
        inState(STANDBY),
        Promise.all(nodes.map(leaderOf)),
      ]);
      return states.length === NODES - 1 && new Set(leaders).size === 1 && leaders[0] !== '';
    });
  };

  await unseal(first);
  await waitUntil('the first node is active', START_MS, async () => (await active()) === first);
  // A node that has just joined counts for the majority only after this time; the default is 10 s.
  const soon = { server_stabilization_time: '1s' };
  await withRoot(first).write('sys/storage/raft/autopilot/configuration', soon);
  for (const node of others) {
    await node.admin.write('sys/storage/raft/join', { leader_api_addr: first.address });
    await unseal(node);
  }
  await settled();
  await waitUntil('all vote', START_MS, async () => (await voters(withRoot(first))) === NODES);
  const owned = started.move();
  return {
    nodes,
    admin,
    active,
    standbys: () => inState(STANDBY),
    async sealAll() {
      const node = await active();
      if (node !== undefined) await withRoot(node).write('sys/seal');
      const unsealed = nodes.filter((other) => other !== node);
      await Promise.all(unsealed.map((other) => other.stop('kill').then(other.start)));
    },
    unseal,
    settled,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** 0 where it does not answer. */
async function healthOf({ address }: Vault): Promise<number> {
  const url = `${address}/v1/sys/health`;
  const request = { method: 'GET', url, signal: AbortSignal.timeout(LOOK_MS) };
  return await jsonRequest(request).then(
    ({ status }) => status,
    () => 0,
  );
}

/** The address of the active node as this one knows it, or ''. */
async function leaderOf({ address }: Vault): Promise<string> {
  const url = `${address}/v1/sys/leader`;
  const { body } = await jsonRequest({ method: 'GET', url, signal: AbortSignal.timeout(LOOK_MS) });
  return (body as { readonly leader_address?: string }).leader_address ?? '';
}

async function voters(admin: VaultAdmin): Promise<number> {
  const { data } = await admin.read('sys/storage/raft/configuration');
  const { config } = data as unknown as { config: { servers: readonly { voter: boolean }[] } };
  return config.servers.filter(({ voter }) => voter).length;
}
