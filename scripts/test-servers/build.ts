/**
 * Builds one target. A server's module cannot be installed as it is (its go.mod replaces modules by
 * folders of its own tree), so a module of ours is made of its go.mod and go.sum, and requires it.
 */
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { binary, cacheFolder, goSources } from './binaries.ts';
import { BUILD_FLAGS, go } from './go.ts';
import { type Target, type TargetName, target } from './targets.ts';

/** Under this name the packages of test/servers/go import each other. */
const OUR_MODULE = 'trousseau.test';

/** Builds it, and puts it at its place in one step; `say` gets lines of progress. */
export async function buildTarget(name: TargetName, say: (line: string) => void): Promise<void> {
  const { module, version, tags = [], variables = {} } = target(name);
  const path = binary(name);
  mkdirSync(join(cacheFolder(), 'build'), { recursive: true });
  mkdirSync(dirname(path), { recursive: true });
  const folder = mkdtempSync(join(cacheFolder(), 'build', `${name}-`));
  try {
    say(`fetching ${module} ${version}`);
    await makeModule(folder, name);
    say('compiling');
    const settings = Object.entries(variables).map(([key, value]) => `-X ${key}=${value}`);
    const ldflags = ['-s', '-w', ...settings].join(' ');
    await go(
      folder,
      ['build', ...BUILD_FLAGS, `-tags=${tags.join(',')}`, `-ldflags=${ldflags}`, '-o', 'out', '.'],
      () => say('still compiling'),
    );
    renameSync(join(folder, 'out'), path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function makeModule(folder: string, name: TargetName): Promise<void> {
  const { module, version, siblings } = target(name);
  const served = await download(folder, target(name));
  for (const file of ['go.mod', 'go.sum']) {
    // Not copied as files: those of the module cache are read-only.
    writeFileSync(join(folder, file), readFileSync(join(served, file)));
  }
  const edits = [`-module=${OUR_MODULE}`, `-require=${module}@${version}`];
  for (const { Old, New } of await replacements(folder)) {
    if (!New.Path.startsWith('.')) continue;
    const old = Old.Version === undefined ? Old.Path : `${Old.Path}@${Old.Version}`;
    if (siblings === undefined) edits.push(`-dropreplace=${old}`);
    else edits.push(`-replace=${old}=${Old.Path}@${siblings}`);
  }
  await go(folder, ['mod', 'edit', ...edits]);
  for (const [path, text] of goSources(name)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

/** Fetches the module; answers its folder in the module cache. */
async function download(folder: string, { module, version, sum }: Target): Promise<string> {
  const answer = await go(folder, ['mod', 'download', '-json', `${module}@${version}`]);
  const { Dir, Sum } = JSON.parse(answer) as { Dir: string; Sum: string };
  if (Sum !== sum) throw new Error(`${module} ${version} is not what it was: ${Sum}, not ${sum}`);
  return Dir;
}

type ModuleVersion = { readonly Path: string; readonly Version?: string };
type Replacement = { readonly Old: ModuleVersion; readonly New: ModuleVersion };

async function replacements(folder: string): Promise<readonly Replacement[]> {
  const parsed = JSON.parse(await go(folder, ['mod', 'edit', '-json'])) as {
    readonly Replace: readonly Replacement[] | null;
  };
  return parsed.Replace ?? [];
}
