/** The addresses behind the names of the configuration: a name with several is several servers. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { type Clock, sleep } from '../../system/clock.ts';
import type { Target } from './dispatcher.ts';
import { proxyFor } from './proxy.ts';

/** Looks a name up, e.g. `vault.example`; rejects where DNS has no answer. */
export type Lookup = (hostname: string) => Promise<readonly string[]>;

/** The system's own way, so that /etc/hosts holds too. */
export const systemLookup: Lookup = async (hostname) =>
  (await lookup(hostname, { all: true })).map(({ address }) => address);

/** Longer than this nobody waits: the connection will look the name up, and say what is wrong. */
const LOOKUP_LIMIT_MS = 2_000;

/**
 * The servers of these URLs, in their order. A name that cannot be looked up now stays one server:
 * the connection will say what is wrong with it.
 */
export async function resolveTargets(
  urls: readonly string[],
  proxy: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  resolve: Lookup,
  clock: Clock,
): Promise<readonly Target[]> {
  const found = async (hostname: string): Promise<readonly string[]> => {
    const answered = new AbortController();
    const late = sleep(clock, LOOKUP_LIMIT_MS, answered.signal).then(() => []);
    const ips = resolve(hostname).catch(() => []); // said by the connection, when it is made
    const first = await Promise.race([ips, late]);
    answered.abort();
    return [...new Set(first)];
  };
  const targets = await Promise.all(
    urls.map(async (url): Promise<readonly Target[]> => {
      const plain = [{ url, ip: undefined }];
      const hostname = new URL(url).hostname.replace(/^\[|\]$/g, '');
      if (isIP(hostname) !== 0 || proxyFor(url, proxy, env) !== undefined) return plain;
      const ips = await found(hostname);
      // A name with one address is looked up anew for each connection, and so follows a change.
      return ips.length < 2 ? plain : ips.map((ip) => ({ url, ip }));
    }),
  );
  return targets.flat();
}
