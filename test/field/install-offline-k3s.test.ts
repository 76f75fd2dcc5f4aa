/**
 * docs/install-offline.md, steps 5 and 6, as they are written, on a node of k3s: a cluster that has stored
 * Secrets in clear, and one that has encrypted them with k3s' own key.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { aptInstall, insertStick } from '../package/booted/installing.ts';
import {
  configureKeyring,
  journal,
  property,
  READY_MS,
  SERVICE,
  SOCKET_UNIT,
  saysOfItself,
  systemctl,
} from '../package/installation.ts';
import { bootMachine, type Machine, machineTree } from '../package/nspawn.ts';
import { commandOf, commandsOf, typed } from '../package/offline-document.ts';
import { inOwnNamespaces } from '../package/own-namespaces.ts';
import { needTools, realRelease } from '../package/packages-built.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { K3S_SERVICE, type K3s, k3sFolders, needK3s, startK3s } from './k3s-node.ts';

const VERSION = '3.1.0';
const STICK = '/srv/stick';
const ENCRYPTION = '/etc/kubernetes/encryption.yaml';
const FLAG = '--encryption-provider-config=';
/** With its own key k3s has kube-apiserver look after the file; that is left as it is. */
const RELOAD = '--encryption-provider-config-automatic-reload=true';
const LAST = '      - identity: {}\n';
const OWN_KEYS = '/var/lib/rancher/k3s/server/cred/encryption-config.json';
const OURS = 'k8s:enc:kms:v2:trousseau:';
/** What kube-apiserver says where no provider knows what is stored. */
const UNREADABLE = 'no matching prefix found';
const TEXTS = { before: 'written before', after: 'written after' } as const;

type Name = keyof typeof TEXTS;
type Provider = Readonly<Record<string, object>>;
type OwnConfiguration = { readonly resources: readonly [{ readonly providers: Provider[] }] };

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needTools();
  needK3s();
  machineTree('trixie');
  realRelease(VERSION);
}

type Node = { readonly machine: Machine; readonly k3s: K3s };

/** A booted node with k3s and, ready, the plugin; `more` is for k3s' configuration. */
function nodeOf(more: string): () => Node {
  const dir = mkdtempSync(join(tmpdir(), 'trousseau-'));
  let machine: Machine | undefined;
  let k3s: K3s | undefined;
  before(async () => {
    const folders = { [STICK]: realRelease(VERSION).folder, ...k3sFolders() };
    machine = await bootMachine({ suite: 'trixie', dir, folders });
    k3s = await startK3s(machine, dir, more);
    await insertStick(machine, STICK);
    await aptInstall(machine, VERSION);
    await configureKeyring(machine);
    await systemctl(machine, 'enable', '--now', SOCKET_UNIT, SERVICE);
    await saysOfItself(machine, /^ready/);
  });
  after(async () => {
    await machine?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });
  return () => {
    if (machine === undefined || k3s === undefined) throw new Error('the node did not start');
    return { machine, k3s };
  };
}

function stored(k3s: K3s, name: Name): string {
  const value = k3s.stored().get(`default/${name}`);
  assert.ok(value !== undefined, name);
  return value;
}

async function assertRead(k3s: K3s, ...names: readonly Name[]): Promise<void> {
  for (const name of names) assert.equal(await k3s.read(name), TEXTS[name]);
}

function assertEncrypted(k3s: K3s, ...names: readonly Name[]): void {
  for (const name of names) assert.ok(stored(k3s, name).startsWith(OURS), name);
}

/** What the kube-apiserver that was started last was told about encryption. */
async function encryptionFlags(machine: Machine): Promise<readonly string[]> {
  const lines = await journal(machine, K3S_SERVICE);
  const started = lines.findLast((line) => line.includes('Running kube-apiserver'));
  assert.ok(started !== undefined);
  return (started.match(/--[^ "]+/g) ?? []).filter((flag) => flag.includes('encryption'));
}

/** All of step 6, for all Secrets of the cluster, whatever k3s itself keeps in some. */
async function step6({ k3s }: Node): Promise<void> {
  await k3s.administer(commandOf('## 6. Encrypt what is already there'));
  for (const [name, value] of k3s.stored()) assert.ok(value.startsWith(OURS), name);
  await assertRead(k3s, 'before', 'after');
}

/** Replaces something that stands in the EncryptionConfiguration once. */
function edit(machine: Machine, from: string, to: string): void {
  const file = join(machine.root, ENCRYPTION);
  const parts = readFileSync(file, 'utf8').split(from);
  assert.equal(parts.length, 2, from);
  writeFileSync(file, parts.join(to));
}

/** What the document has one take out of k3s' own file, as lines for ours. */
function ownProviders(machine: Machine): string {
  const text = readFileSync(join(machine.root, OWN_KEYS), 'utf8');
  const { resources } = JSON.parse(text) as OwnConfiguration;
  const keys = resources[0].providers.filter((provider) => !('identity' in provider));
  assert.notEqual(keys.length, 0);
  return keys.map((provider) => `      - ${JSON.stringify(provider)}\n`).join('');
}

function declare(): void {
  const [layFile = ''] = commandsOf('## 5. kube-apiserver');
  const configure = commandOf('### k3s');

  describe('a cluster of k3s that has stored its Secrets in clear', () => {
    const node = nodeOf('');

    it('step 5: kube-apiserver in k3s gets the flag, and encrypts what is new', async () => {
      const { machine, k3s } = node();
      await k3s.write('before', TEXTS.before);
      assert.deepEqual(await encryptionFlags(machine), []);
      await machine.must(typed(layFile));
      await machine.must(typed(configure));
      assert.deepEqual(await encryptionFlags(machine), [FLAG + ENCRYPTION]);
      await k3s.write('after', TEXTS.after);
      assertEncrypted(k3s, 'after');
      await assertRead(k3s, 'before', 'after');
    });

    it('step 6: what was there before is encrypted', async () => {
      assert.match(stored(node().k3s, 'before'), /written before/);
      await step6(node());
    });

    it('started once more, k3s reads all of them', async () => {
      const { machine, k3s } = node();
      await systemctl(machine, 'restart', K3S_SERVICE);
      await assertRead(k3s, 'before', 'after');
    });
  });

  describe('a cluster of k3s that has encrypted its Secrets with its own key', () => {
    const node = nodeOf('secrets-encryption: true\n');
    let own = '';

    it('step 5 without its key in our file: k3s does not become ready, and says why', async () => {
      const { machine, k3s } = node();
      await k3s.write('before', TEXTS.before);
      assert.deepEqual(await encryptionFlags(machine), [FLAG + OWN_KEYS, RELOAD]);
      await machine.must(typed(layFile));
      await machine.must(typed(configure.replace('restart', '--no-block restart')));
      await waitUntil('a Secret that is not read', READY_MS, async () => {
        const reason = await k3s.read('before').catch(String);
        if (!reason.includes(UNREADABLE)) throw new Error(reason);
        return true;
      });
      assert.equal(await property(machine, K3S_SERVICE, 'ActiveState'), 'activating');
      const lines = await journal(machine, K3S_SERVICE);
      assert.ok(lines.some((line) => line.includes(UNREADABLE)));
    });

    it('step 5: our file takes the place of its own, and what its key wrote is read', async () => {
      const { machine, k3s } = node();
      own = ownProviders(machine);
      edit(machine, LAST, own + LAST);
      await machine.must(typed(configure));
      assert.deepEqual(await encryptionFlags(machine), [FLAG + ENCRYPTION, RELOAD]);
      await k3s.write('after', TEXTS.after);
      assertEncrypted(k3s, 'after');
      await assertRead(k3s, 'before', 'after');
    });

    it('step 6: what its key wrote is encrypted anew', async () => {
      assert.match(stored(node().k3s, 'before'), /^k8s:enc:(aescbc|secretbox):v1:/);
      await step6(node());
    });

    it('with its own key taken out, and started once more, k3s reads all of them', async () => {
      const { machine, k3s } = node();
      edit(machine, own, '');
      await systemctl(machine, 'restart', K3S_SERVICE);
      await assertRead(k3s, 'before', 'after');
      await k3s.administer('kubectl get secrets --all-namespaces');
    });
  });
}
