/** A virtual machine with Vault on the other side of its network, for the tests of one `describe`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { needTools, realRelease } from '../../package/packages-built.ts';
import { needBuilt } from '../../package/servers-built.ts';
import { startVaultOfNode, type VaultOfNode } from '../../package/vault-of-node.ts';
import {
  bootVirtualMachine,
  type Distribution,
  HOST,
  type VirtualMachine,
  type VirtualMachineOptions,
  virtualMachineTree,
} from './virtual-machine.ts';

export const VERSION = '3.1.0';
/** Half a minute on an emulated processor of its own, many minutes where other programs want it too. */
export const READY_MS = 1_800_000;

/** An emulated processor that others use too takes longer than 2 s for one request over TLS. */
const REQUEST_TIMEOUT = '1m';

export type NodeWithVault = { readonly machine: VirtualMachine; readonly ofNode: VaultOfNode };

/** Makes what takes a network, before there is none. */
export function prepareNodeWithVault(distribution: Distribution): void {
  needTools('field');
  needBuilt(['vault-newest']);
  realRelease(VERSION);
  virtualMachineTree(distribution);
}

/** Starts both before the tests of the `describe` that it is called in, and ends them after. */
export function nodeWithVault(options: Omit<VirtualMachineOptions, 'dir'>): NodeWithVault {
  const dir = mkdtempSync(join(tmpdir(), 'trousseau-'));
  let machine: VirtualMachine | undefined;
  let ofNode: VaultOfNode | undefined;
  before(async () => {
    ofNode = await startVaultOfNode(dir, HOST, REQUEST_TIMEOUT);
    machine = await bootVirtualMachine({
      ...options,
      dir,
      lay: (root) => layOffline(root, options),
    });
  });
  after(async () => {
    await machine?.[Symbol.asyncDispose]();
    await ofNode?.vault.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    get machine() {
      if (machine === undefined) throw new Error('the machine did not boot');
      return machine;
    },
    get ofNode() {
      if (ofNode === undefined) throw new Error('Vault did not start');
      return ofNode;
    },
  };
}

/** Debian's own sources are out of reach, and nothing may be asked of them. */
function layOffline(root: string, { lay }: Pick<VirtualMachineOptions, 'lay'>): void {
  rmSync(join(root, 'etc/apt/sources.list'), { force: true });
  lay(root);
}
