/** Has the kernel start programs for arm64 under qemu, in trees that know nothing of qemu. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathOf } from '../../scripts/packages/tools.ts';

const BINFMT = '/proc/sys/fs/binfmt_misc';
const NAME = 'trousseau-test-arm64';
/** The start of an ELF file for arm64, and which of its bits count: QEMU's qemu-binfmt-conf.sh. */
const MAGIC = '7f454c460201010000000000000000000200b700';
const MASK = 'ffffffffffffff00fffffffffffffffffeffffff';

/** Until it is disposed of; does nothing where the processor or the machine's set-up does it anyway. */
export function registerArm64(): Disposable {
  if (process.arch === 'arm64') return { [Symbol.dispose]: () => undefined };
  const ownMount = !readdirSync(BINFMT).includes('register');
  if (ownMount) execFileSync('mount', ['-t', 'binfmt_misc', 'binfmt_misc', BINFMT]);
  const known = isRegistered();
  if (!known) {
    const qemu = pathOf('qemu-aarch64-static');
    if (qemu === undefined) throw new Error('there is no qemu-aarch64-static');
    // F: opened now, so that it need not be in the tree.
    writeFileSync(
      join(BINFMT, 'register'),
      `:${NAME}:M::${escaped(MAGIC)}:${escaped(MASK)}:${qemu}:OCF`,
    );
  }
  return {
    [Symbol.dispose]() {
      if (!known) writeFileSync(join(BINFMT, NAME), '-1');
      if (ownMount) execFileSync('umount', [BINFMT]);
    },
  };
}

function isRegistered(): boolean {
  return readdirSync(BINFMT)
    .filter((name) => name !== 'register' && name !== 'status')
    .map((name) => readFileSync(join(BINFMT, name), 'utf8'))
    .some((text) => /^enabled/.test(text) && text.includes(MAGIC) && /^flags:.*F/m.test(text));
}

function escaped(hex: string): string {
  return hex.replace(/../g, '\\x$&');
}
