/**
 * Builds one target. A server's module cannot be installed as it is (its go.mod replaces modules by
 * folders of its own tree), so a module of ours is made of its go.mod and go.sum, and requires it.
 */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { binary, cacheFolder, goSources } from './binaries.ts';
import { BUILD_FLAGS, go } from './go.ts';
import { type Extended, type Target, type TargetName, target } from './targets.ts';

/** Under this name the packages of test/servers/go import each other. */
const OUR_MODULE = 'trousseau.test';
/** The folder, in the one of the build, of a module that is extended. */
const EXTENDED = 'extended';

/** Builds it, and puts it at its place in one step; `say` gets lines of progress. */
export async function buildTarget(name: TargetName, say: (line: string) => void): Promise<void> {
  const { module, version, tags = [], variables = {}, cgo } = target(name);
  const path = binary(name);
  mkdirSync(join(cacheFolder(), 'build'), { recursive: true });
  mkdirSync(dirname(path), { recursive: true });
  const folder = mkdtempSync(join(cacheFolder(), 'build', `${name}-`));
  try {
    say(`fetching ${module} ${version}`);
    await makeModule(folder, name);
    say('compiling');
    const settings = Object.entries(variables).map(([key, value]) => `-X ${key}=${value}`);
    const linked = cgo ? ['-linkmode=external', '-extldflags=-static'] : [];
    const ldflags = ['-s', '-w', ...linked, ...settings].join(' ');
    await go(
      folder,
      ['build', ...BUILD_FLAGS, `-tags=${tags.join(',')}`, `-ldflags=${ldflags}`, '-o', 'out', '.'],
      () => say('still compiling'),
      cgo ? { CGO_ENABLED: '1' } : {},
    );
    renameSync(join(folder, 'out'), path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function makeModule(folder: string, name: TargetName): Promise<void> {
  const { module, version, siblings, fork, extended } = target(name);
  const served = await download(folder, target(name));
  for (const file of ['go.mod', 'go.sum']) {
    // Not copied as files: those of the module cache are read-only.
    writeFileSync(join(folder, file), readFileSync(join(served, file)));
  }
  const edits = [`-module=${OUR_MODULE}`, `-require=${module}@${version}`];
  for (const { Old, New } of await replacements(folder)) {
    const forked = fork !== undefined && New.Path.startsWith(fork);
    if (!New.Path.startsWith('.') && !forked) continue;
    const old = Old.Version === undefined ? Old.Path : `${Old.Path}@${Old.Version}`;
    if (siblings === undefined) edits.push(`-dropreplace=${old}`);
    else edits.push(`-replace=${old}=${Old.Path}@${siblings}`);
  }
  if (extended !== undefined) {
    extend(await download(folder, extended), join(folder, EXTENDED), extended.files);
    edits.push(`-replace=${extended.module}=./${EXTENDED}`);
  }
  await go(folder, ['mod', 'edit', ...edits]);
  for (const [path, text] of goSources(name)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

/**
 * A folder with all that a module has, and more. Links suffice, beside the folders in which something is
 * added: `go build -overlay`, made for this, refuses to add to a module of the cache.
 */
function extend(served: string, folder: string, files: Extended['files']): void {
  mkdirSync(folder);
  const paths = Object.keys(files);
  for (const entry of readdirSync(served)) {
    const below = paths.filter((path) => path.startsWith(`${entry}/`));
    if (below.length === 0) symlinkSync(join(served, entry), join(folder, entry));
    else {
      const inside = below.map(
        (path) => [path.slice(entry.length + 1), files[path] ?? ''] as const,
      );
      extend(join(served, entry), join(folder, entry), Object.fromEntries(inside));
    }
  }
  for (const [path, text] of Object.entries(files))
    if (!path.includes('/')) writeFileSync(join(folder, path), text, { flag: 'wx' });
}

/** Fetches the module; answers its folder in the module cache. */
async function download(folder: string, { module, version, sum }: Served): Promise<string> {
  const answer = await go(folder, ['mod', 'download', '-json', `${module}@${version}`]);
  const { Dir, Sum } = JSON.parse(answer) as { Dir: string; Sum: string };
  if (Sum !== sum) throw new Error(`${module} ${version} is not what it was: ${Sum}, not ${sum}`);
  return Dir;
}

type Served = Pick<Target, 'module' | 'version' | 'sum'>;
type ModuleVersion = { readonly Path: string; readonly Version?: string };
type Replacement = { readonly Old: ModuleVersion; readonly New: ModuleVersion };

async function replacements(folder: string): Promise<readonly Replacement[]> {
  const parsed = JSON.parse(await go(folder, ['mod', 'edit', '-json'])) as {
    readonly Replace: readonly Replacement[] | null;
  };
  return parsed.Replace ?? [];
}
