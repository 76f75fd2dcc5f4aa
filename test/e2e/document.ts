/** A document for operators, its commands and files as they stand in it, run in a folder of a test. */
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { PROGRAM } from '../servers/plugin.ts';
import { type Block, blocksOf } from '../unit/docs/markdown.ts';

const ROOT = join(import.meta.dirname, '../..');
const COMMAND_MS = 60_000;
const run = promisify(execFile);

export type NodeFolder = {
  /** A path of a real node, in the folder of the test. */
  readonly here: (text: string) => string;
  /** Runs a script as it stands in the document; answers what it wrote to standard output. */
  readonly shell: (script: string) => Promise<string>;
  readonly dir: string;
};

export type NodeOptions = {
  readonly dir: string;
  readonly vault: { readonly address: string; readonly token: string; readonly caFile: string };
  readonly kubeconfig: string;
  /** Of etcd, for `etcdctl get PREFIX --prefix --print-value-only`. */
  readonly etcd?: string;
  /** What else stands for something in the folder. */
  readonly replaced?: Readonly<Record<string, string>>;
};

/** The fenced blocks of a document of the tree, in their order. */
export function documentBlocks(name: string): readonly Block[] {
  return blocksOf(readFileSync(join(ROOT, name), 'utf8'));
}

/** The command of docs/operations.md that shows whether every Secret is encrypted. */
export function encryptedOrNot(): string {
  const [found, ...more] = documentBlocks('docs/operations.md').filter(({ text }) =>
    /^etcdctl get \/registry\/secrets\/ .*--print-value-only/.test(text),
  );
  if (found === undefined || more.length > 0) throw new Error(`${more.length + 1} commands`);
  return found.text;
}

/** Lays down an `etcdctl` that asks etcd's JSON gateway, for the commands of the documents. */
export function layEtcdctl(bin: string, etcd: string): void {
  script(
    join(bin, 'etcdctl'),
    `#!/bin/sh\nexec ${process.execPath} ${join(import.meta.dirname, 'etcdctl.ts')} ${etcd} "$@"\n`,
  );
}

/**
 * A folder that stands for a control-plane node. `systemctl` does nothing there, since a test starts
 * its servers itself; the other programs are real ones. `etcdctl` asks etcd's JSON gateway.
 */
export function nodeFolder(options: NodeOptions): NodeFolder {
  const { dir, vault, kubeconfig, etcd = '', replaced = {} } = options;
  const bin = join(dir, 'bin');
  for (const name of ['bin', 'etc', 'run', 'opt'])
    mkdirSync(join(dir, name), { mode: 0o750, recursive: true });
  const { kubectl } = testServers();
  for (const [name, program] of [
    ['vault', testServers()['vault-newest']],
    ['kubectl', kubectl],
    ['trousseau', PROGRAM],
  ] as const)
    symlinkSync(program, join(bin, name));
  script(join(bin, 'systemctl'), '#!/bin/sh\nexit 0\n');
  layEtcdctl(bin, etcd);
  const paths: readonly (readonly [string, string])[] = [
    ...Object.entries(replaced),
    ['/etc/trousseau', join(dir, 'etc')],
    ['/run/trousseau', join(dir, 'run')],
    ['/opt/trousseau', join(dir, 'opt')],
    ['https://vault.example:8200', vault.address],
    // The group is made by a package, or by make install.
    ['chgrp trousseau', `chgrp ${process.getgid?.() ?? 0}`],
  ];
  const here = (text: string): string =>
    paths.reduce((whole, [from, to]) => whole.replaceAll(from, to), text);
  const shell = async (text: string): Promise<string> => {
    const { stdout } = await run('/bin/sh', ['-euc', here(text)], {
      cwd: ROOT,
      timeout: COMMAND_MS,
      env: {
        HOME: dir,
        PATH: `${bin}:${process.env['PATH']}`,
        VAULT_ADDR: vault.address,
        VAULT_TOKEN: vault.token,
        VAULT_CACERT: vault.caFile,
        KUBECONFIG: kubeconfig,
      },
    });
    return stdout;
  };
  return { dir, here, shell };
}

function script(file: string, text: string): void {
  writeFileSync(file, text);
  chmodSync(file, 0o755);
}
