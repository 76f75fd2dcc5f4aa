/** For tests that cannot build what they start: they run without a network. */
import { existsSync } from 'node:fs';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import type { TargetName } from '../../scripts/test-servers/targets.ts';

/** Throws where one of them was not built. */
export function needBuilt(names: readonly TargetName[]): void {
  const servers = testServers();
  const absent = names.filter((name) => !existsSync(servers[name]));
  if (absent.length === 0) return;
  const build = 'node_modules/.bin/node scripts/build-test-servers.ts';
  throw new Error(`not built: ${absent.join(', ')}; run ${build} ${absent.join(' ')}`);
}
