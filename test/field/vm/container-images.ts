/** Container images of one program each, as `docker save` writes them and `ctr images import` reads them. */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type ContainerImage = {
  /** With its tag. */
  readonly name: string;
  readonly program: string;
  /** The program's name in it. */
  readonly as: string;
  /** What it runs where a pod names no command. */
  readonly entrypoint: readonly string[];
};

/** Writes the archive of an image that holds nothing but the program, in `/usr/bin`. */
export function writeContainerImage(image: ContainerImage, archive: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'trousseau-image-'));
  try {
    const bin = join(folder, 'root/usr/bin');
    mkdirSync(bin, { recursive: true });
    copyFileSync(image.program, join(bin, image.as));
    tar('--create', `--file=${folder}/layer.tar`, `--directory=${folder}/root`, '--mode=755', '.');
    const layer = createHash('sha256').update(readFileSync(join(folder, 'layer.tar')));
    writeJson(folder, 'config.json', {
      architecture: 'amd64',
      os: 'linux',
      config: { Env: ['PATH=/usr/bin'], Entrypoint: image.entrypoint },
      rootfs: { type: 'layers', diff_ids: [`sha256:${layer.digest('hex')}`] },
    });
    const parts = { Config: 'config.json', RepoTags: [image.name], Layers: ['layer.tar'] };
    writeJson(folder, 'manifest.json', [parts]);
    tar('--create', `--file=${archive}`, `--directory=${folder}`, ...Object.values(FILES));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const FILES = { manifest: 'manifest.json', config: 'config.json', layer: 'layer.tar' } as const;

function tar(...args: readonly string[]): void {
  execFileSync('tar', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function writeJson(folder: string, name: string, value: unknown): void {
  writeFileSync(join(folder, name), JSON.stringify(value));
}
