/** The SELinux policy module: compiled from packaging/selinux, the same bits every time. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './tools.ts';

/** The oldest module format that the policy needs: RHEL 8 reads it too. */
const MODULE_FORMAT = '19';

export function selinuxModule(scratch: string): Buffer {
  const compiled = join(scratch, 'trousseau.mod');
  const module = join(scratch, 'trousseau.pp');
  run('checkmodule', [
    '-M',
    '-m',
    '-c',
    MODULE_FORMAT,
    '-o',
    compiled,
    'packaging/selinux/trousseau.te',
  ]);
  run('semodule_package', ['-o', module, '-m', compiled, '-f', 'packaging/selinux/trousseau.fc']);
  return readFileSync(module);
}
