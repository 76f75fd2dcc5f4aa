/** One booted machine, and all that is tried on it, in order. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { addUsers } from '../installation.ts';
import { bootMachine, type Machine, machineTree } from '../nspawn.ts';
import { needTools, realRelease } from '../packages-built.ts';
import type { Suite } from '../trees.ts';
import { cluster, needServers } from './cluster.ts';
import { aptInstall, installing } from './installing.ts';
import { provedRestart } from './proved-restart.ts';
import { publicAddress } from './public-address.ts';
import { filesOf, purging } from './purging.ts';
import { recovering } from './recovering.ts';
import { rpm } from './rpm.ts';
import { sandbox } from './sandbox.ts';
import { serving } from './serving.ts';
import { socketUnit } from './socket-unit.ts';
import { NEWER_VERSION, OLD_VERSION, STICK, type UnderTest } from './under-test.ts';
import { removing, upgrading } from './upgrading.ts';

/** Makes what needs a network or takes long, before there is a machine. */
export function prepare(suite: Suite): void {
  needTools();
  needServers();
  machineTree(suite);
  for (const version of [OLD_VERSION, NEWER_VERSION]) realRelease(version);
}

/** Declares the tests of a suite; only inOwnNamespaces. */
export function bootedMachine(suite: Suite): void {
  describe(`the packages in a booted ${suite}, offline`, () => {
    const dir = mkdtempSync(join(tmpdir(), 'trousseau-'));
    const [old, newer] = [realRelease(OLD_VERSION), realRelease(NEWER_VERSION)];
    let machine: Machine | undefined;
    let files: readonly string[] = [];
    const under: UnderTest = {
      suite,
      old,
      newer,
      get machine() {
        if (machine === undefined) throw new Error('the machine did not boot');
        return machine;
      },
    };
    before(async () => {
      const folders = { [STICK.old]: old.folder, [STICK.newer]: newer.folder };
      machine = await bootMachine({ suite, dir, folders });
      files = await filesOf(machine);
    });
    after(async () => {
      await machine?.[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    });

    describe('installed from a stick', () => installing(under));
    describe('between a kube-apiserver and a Vault', () => cluster(under, dir));
    describe('purged', () => purging(under, () => files));
    describe('with a local keyring', () => {
      before(async () => {
        await aptInstall(under.machine, OLD_VERSION);
        await addUsers(under.machine);
      });
      serving(under);
    });
    describe('restarted with drop-ins', () => provedRestart(under));
    describe('in its sandbox', () => sandbox(under));
    describe('with a Vault at a public address', () => publicAddress(under));
    describe('with its socket unit restarted, failed and removed', () => socketUnit(under));
    describe('hanging, killed and rebooted', () => recovering(under));
    describe('upgraded and downgraded by apt', () => upgrading(under));
    describe('purged with keys', () => removing(under));
    describe('as an RPM', () => rpm(under));
  });
}
