/** The SELinux module and the AppArmor profile are what their tools take. */
import assert from 'node:assert/strict';
import { appendFileSync, globSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { selinuxModule } from '../../scripts/packages/selinux.ts';
import { inOwnNamespaces } from './own-namespaces.ts';
import { needTools, said } from './packages-built.ts';
import { debianTree } from './packages-tree.ts';
import { baseTree } from './trees.ts';

const POLICY = ['policycoreutils', 'selinux-policy-default', 'selinux-utils'];
const CONTEXTS = '/etc/selinux/default/contexts/files/file_contexts';
const LABELS: Readonly<Record<string, string>> = {
  '/usr/bin/trousseau': 'trousseau_exec_t',
  '/etc/trousseau/config.yaml': 'trousseau_etc_t',
  '/run/trousseau/kms.sock': 'trousseau_var_run_t',
  '/var/lib/trousseau/keyring.json': 'trousseau_var_lib_t',
};

type Rule = readonly [from: string, to: string, kind: string, rights: readonly string[]];

/**
 * Without the first of them systemd would not make the socket and start the service, nor containers call;
 * without those of trousseau_t, it would not publish a socket, find a handed over one, or say what is not proved.
 */
const RULES: readonly Rule[] = [
  ['init_t', 'trousseau_t', 'process', ['transition', 'siginh', 'rlimitinh', 'noatsecure']],
  ['init_t', 'trousseau_t', 'process2', ['nnp_transition', 'nosuid_transition']],
  ['init_t', 'trousseau_t', 'unix_stream_socket', ['create', 'bind', 'listen', 'setopt']],
  ['container_t', 'trousseau_t', 'unix_stream_socket', ['connectto']],
  ['trousseau_t', 'trousseau_var_run_t', 'sock_file', ['create', 'link', 'rename', 'unlink']],
  ['trousseau_t', 'proc_net_t', 'file', ['open', 'read']],
  ['trousseau_t', 'trousseau_t', 'file', ['open', 'read']],
  ['trousseau_t', 'var_run_t', 'file', ['write']],
];
/** The newest that Debian 12's setools read. */
const POLICY_VERSION = 33;

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needTools();
  baseTree({ suite: 'trixie', packages: POLICY });
}

function declare(): void {
  test('the SELinux module loads into a reference policy, where its labels and rules hold', (t) => {
    const scratch = mkdtempSync(join(tmpdir(), 'trousseau-test-'));
    t.after(() => rmSync(scratch, { recursive: true, force: true }));
    const debian = debianTree(t, 'selinux', POLICY);
    writeFileSync(debian.path('/root/trousseau.pp'), selinuxModule(scratch));
    appendFileSync(
      debian.path('/etc/selinux/semanage.conf'),
      `policy-version = ${POLICY_VERSION}\n`,
    );
    const args = ['-N', '-s', 'default', '-i', '/root/trousseau.pp'];
    const { status, output } = debian.run('semodule', ...args);
    assert.equal(status, 0, output);
    for (const [path, type] of Object.entries(LABELS)) {
      const label = debian.run('matchpathcon', '-f', CONTEXTS, path).output;
      assert.equal(label.trim().split('\t')[1], `system_u:object_r:${type}:s0`);
    }
    const [policy = ''] = globSync(
      debian.path(`/etc/selinux/default/policy/policy.${POLICY_VERSION}`),
    );
    for (const [from, to, kind, rights] of RULES) {
      for (const right of rights) {
        const asked = ['-A', '-s', from, '-t', to, '-c', kind, '-p', right];
        const rule = `${from} ${to} ${kind} ${right}`;
        assert.match(said('sesearch', [...asked, policy]), /^allow /m, rule);
      }
    }
  });

  test('the AppArmor profile compiles without a complaint', () => {
    const args = ['--skip-kernel-load', '--skip-cache'];
    const output = said('apparmor_parser', [...args, 'packaging/apparmor/trousseau']);
    assert.equal(output.replace(/^Cache read\/write disabled.*\n/m, ''), '');
  });
}
