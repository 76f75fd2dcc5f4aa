/** Where the plugin's time goes under load: a CPU profile of the sources, in the parts that it is made of. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NODE_FLAGS } from '../../scripts/binary/bundle.ts';
import { prepare } from './calls.ts';
import { type Place, type Subject, startSubject, trousseau } from './subject.ts';

const ROOT = join(import.meta.dirname, '../..');
const CALLS = 20_000;
const WORKERS = 64;

/** A part of the program, and its share of the time in which the program was not idle. */
export type Share = { readonly part: string; readonly share: number };

/** Profiles v2 Decrypt at 64 at once; the sources, since a bundle does not tell its parts apart. */
export async function profile(
  dir: string,
  place: Omit<Place, 'socket' | 'dir'>,
): Promise<readonly Share[]> {
  const out = join(dir, 'profile');
  mkdirSync(dir);
  const profiled: Subject = {
    name: 'profile',
    async command(at) {
      const [, ...serve] = await trousseau.command(at);
      const flags = [...NODE_FLAGS, '--cpu-prof', `--cpu-prof-dir=${out}`];
      return [process.execPath, ...flags, join(ROOT, 'src/main.ts'), ...serve];
    },
  };
  const subject = await startSubject(profiled, { dir: join(dir, 'plugin'), ...place });
  const { client } = await prepare(subject, dir);
  const through = { through: 'service', api: 'v2' } as const;
  await client.write({ ...through, count: CALLS, workers: WORKERS, size: 32 });
  await client.read({ ...through, workers: WORKERS });
  await client.stop();
  await subject.process.stop();
  const [file = ''] = readdirSync(out);
  return sharesOf(JSON.parse(readFileSync(join(out, file), 'utf8')) as Profile);
}

/** https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
export type Profile = {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

const IDLE = '(idle)';

/** The largest share first. Pure. */
export function sharesOf({ nodes, samples, timeDeltas }: Profile): readonly Share[] {
  const partOfNode = new Map(nodes.map(({ id, callFrame }) => [id, partOf(callFrame)]));
  const times = new Map<string, number>();
  for (const [i, id] of samples.entries()) {
    const part = partOfNode.get(id) ?? IDLE;
    times.set(part, (times.get(part) ?? 0) + (timeDeltas[i] ?? 0));
  }
  times.delete(IDLE);
  const busy = [...times.values()].reduce((sum, time) => sum + time, 0);
  return [...times]
    .map(([part, time]): Share => ({ part, share: time / busy }))
    .sort((a, b) => b.share - a.share);
}

/** By the place of the code; what has none is native. */
function partOf({ functionName, url }: Profile['nodes'][number]['callFrame']): string {
  if (functionName === IDLE) return IDLE;
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (url.startsWith('node:')) return "Node's HTTP/2, streams, timers and promises";
  const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1];
  if (name !== undefined) return name;
  if (url.startsWith('wasm:')) return 'undici';
  return url.startsWith('file:') ? 'Trousseau' : 'native code of Node, and system calls';
}
