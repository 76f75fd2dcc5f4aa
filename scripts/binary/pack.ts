/**
 * Runs pkg once, in a process of its own whose HOME and TMPDIR are the folder of what it packs:
 * `pack.ts ARCH NODE_VERSION FLAG...`, see executable.ts for what must be in that folder.
 */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

type Sea = (
  entry: string,
  options: {
    targets: { platform: 'linux'; arch: string; nodeRange: string; output: string }[];
    seaConfig: object;
  },
) => Promise<void>;

const [arch = '', version = '', ...execArgv] = process.argv.slice(2);
const { default: sea } = createRequire(import.meta.url)('@yao-pkg/pkg/lib-es5/sea.js') as {
  default: Sea;
};

// pkg works in a folder that it makes in TMPDIR: from there these are the same in every build, and
// the name of the script is a part of what comes out.
const assets = Object.fromEntries(
  ['bundle.js', 'bundle.cache', 'licenses.json'].map((name) => [name, `../${name}`]),
);
await sea('main.cjs', {
  targets: [{ platform: 'linux', arch, nodeRange: `node${version}`, output: resolve('trousseau') }],
  seaConfig: {
    main: '../main.cjs',
    assets,
    execArgv,
    // Nothing from outside adds to them: not NODE_OPTIONS, not the command line.
    execArgvExtension: 'none',
    useCodeCache: false, // bundle.cache is one, and the same in every build
    disableExperimentalSEAWarning: true,
  },
});
