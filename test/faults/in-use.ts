/** Which of several ways to Vault a plugin asks first, as its log tells. */
import type { Plugin } from '../servers/plugin.ts';
import type { ToxicWay } from '../servers/toxiproxy.ts';

/** Before the plugin has said so it is the first one. */
export function inUse(plugin: Plugin, ways: readonly ToxicWay[]): number {
  const chosen = plugin.log().findLast(({ msg }) => msg === 'server chosen')?.['server'];
  return Math.max(
    0,
    ways.findIndex(({ address }) => chosen === `http://${address}`),
  );
}
