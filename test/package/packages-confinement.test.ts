/** The SELinux module and the AppArmor profile are what their tools take. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { selinuxModule } from '../../scripts/packages/selinux.ts';
import { said, toolsThere } from './packages-built.ts';
import { debianTree, TREE_TOOLS } from './packages-tree.ts';

const POLICY = ['policycoreutils', 'selinux-policy-default', 'selinux-utils'];
const CONTEXTS = '/etc/selinux/default/contexts/files/file_contexts';
const LABELS: Readonly<Record<string, string>> = {
  '/usr/bin/trousseau': 'trousseau_exec_t',
  '/etc/trousseau/config.yaml': 'trousseau_etc_t',
  '/run/trousseau/kms.sock': 'trousseau_var_run_t',
  '/var/lib/trousseau/keyring.json': 'trousseau_var_lib_t',
};

if (toolsThere('the SELinux module', ['checkmodule', 'semodule_package', ...TREE_TOOLS])) {
  test('the module loads into a reference policy, and its labels hold', (t) => {
    const scratch = mkdtempSync(join(tmpdir(), 'trousseau-test-'));
    t.after(() => rmSync(scratch, { recursive: true, force: true }));
    const debian = debianTree(t, 'selinux', POLICY);
    writeFileSync(debian.path('/root/trousseau.pp'), selinuxModule(scratch));
    const args = ['-N', '-s', 'default', '-i', '/root/trousseau.pp'];
    const { status, output } = debian.run('semodule', ...args);
    assert.equal(status, 0, output);
    for (const [path, type] of Object.entries(LABELS)) {
      const label = debian.run('matchpathcon', '-f', CONTEXTS, path).output;
      assert.equal(label.trim().split('\t')[1], `system_u:object_r:${type}:s0`);
    }
  });
}

if (toolsThere('the AppArmor profile', ['apparmor_parser'])) {
  test('the profile compiles without a complaint', () => {
    const args = ['--skip-kernel-load', '--skip-cache'];
    const output = said('apparmor_parser', [...args, 'packaging/apparmor/trousseau']);
    assert.equal(output.replace(/^Cache read\/write disabled.*\n/m, ''), '');
  });
}
