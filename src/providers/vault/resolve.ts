/** The addresses behind the names of the configuration: a name with several is several servers. */
import { isIP } from 'node:net';
import type { Clock } from '../../system/clock.ts';
import { proxyFor } from '../../system/proxy.ts';
import { within } from '../../system/within.ts';
import type { Target } from './dispatcher.ts';
import type { Lookup } from './names.ts';

export type Resolution = {
  /** The servers, most preferred first. */
  readonly targets: readonly Target[];
  /** Whether every name was looked up; where not, something else stands in for what was not found. */
  readonly complete: boolean;
};

export type ResolveOptions = {
  /** The addresses of the configuration, in their order. */
  readonly urls: readonly string[];
  readonly proxy: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly lookup: Lookup;
  readonly clock: Clock;
};

/** Longer than this nobody waits. */
const LOOKUP_LIMIT_MS = 2_000;

/**
 * The servers of these URLs. A name that cannot be looked up now keeps the servers that are `held`
 * already, which may be well while DNS is not. Where there are none it is one server: the connection
 * will look the name up, and say what is wrong.
 */
export async function resolveTargets(
  { urls, proxy, env, lookup: lookUp, clock }: ResolveOptions,
  held: readonly Target[],
): Promise<Resolution> {
  let complete = true;
  const targets = await Promise.all(
    urls.map(async (url): Promise<readonly Target[]> => {
      const plain = [{ url, ip: undefined }];
      const hostname = new URL(url).hostname.replace(/^\[|\]$/g, '');
      if (isIP(hostname) !== 0 || proxyFor(url, proxy, env) !== undefined) return plain;
      const answered = lookUp(hostname).catch(() => []); // said by the connection, when it is made
      const ips = [...new Set(await within(clock, LOOKUP_LIMIT_MS, answered, () => []))];
      // A name with one address is looked up anew for each connection, and so follows a change.
      if (ips.length > 0) return ips.length === 1 ? plain : ips.map((ip) => ({ url, ip }));
      complete = false;
      const before = held.filter((target) => target.url === url);
      return before.length === 0 ? plain : before;
    }),
  );
  return { targets: targets.flat(), complete };
}
