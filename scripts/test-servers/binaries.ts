/** Where the built programs are: outside the tree, under a name that says what they were made of. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { BUILD_FLAGS, goVersion } from './go.ts';
import { TARGET_NAMES, type TargetName, target } from './targets.ts';

const GO_SOURCES = join(import.meta.dirname, '../../test/servers/go');

/** The folder that outlives a checkout; TROUSSEAU_TEST_CACHE moves it. */
export function cacheFolder(): string {
  const { TROUSSEAU_TEST_CACHE, XDG_CACHE_HOME } = process.env;
  return (
    TROUSSEAU_TEST_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'trousseau-test')
  );
}

/** The Go files of a target: path inside its module, and content. The first folder is the root. */
export function goSources(name: TargetName): readonly (readonly [path: string, text: string])[] {
  return target(name).sources.flatMap((folder, index) =>
    readdirSync(join(GO_SOURCES, folder))
      .filter((file) => file.endsWith('.go'))
      .sort()
      .map((file) => {
        const text = readFileSync(join(GO_SOURCES, folder, file), 'utf8');
        return [index === 0 ? file : join(folder, file), text] as const;
      }),
  );
}

/** Where the program is, or will be; its name changes with everything that it is made of. */
export function binary(name: TargetName): string {
  const inputs = [target(name), goSources(name), BUILD_FLAGS, goVersion(), process.arch];
  const hash = createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 12);
  const version = target(name).version.slice(1);
  return join(cacheFolder(), 'bin', `${name}-${version}-${hash}`);
}

/** The paths of all programs that the tests start; `scripts/build-test-servers.ts` puts them there. */
export function testServers(): Readonly<Record<TargetName, string>> {
  const paths = TARGET_NAMES.map((name) => [name, binary(name)] as const);
  return Object.fromEntries(paths) as Record<TargetName, string>;
}
