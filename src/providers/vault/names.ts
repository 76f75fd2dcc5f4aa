/**
 * Names of servers and proxies, with the address that each had last: a Vault that is well must not
 * be out of reach because DNS is not.
 */
import { lookup } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import type { Clock } from '../../system/clock.ts';
import { within } from '../../system/within.ts';

/** Looks a name up, e.g. `vault.example`; rejects where DNS has no answer. */
export type Lookup = (hostname: string) => Promise<readonly string[]>;

/** The system's own way, so that /etc/hosts holds too. */
export const systemLookup: Lookup = async (hostname) =>
  (await lookup(hostname, { all: true })).map(({ address }) => address);

export type Names = {
  /** What DNS says now. */
  readonly lookup: Lookup;
  /** For connections: what DNS says, or what it said last where it has no answer in time. */
  readonly forConnections: LookupFunction;
};

/** An answer that takes longer leaves too little of a call's time for the connection. */
const DNS_LIMIT_MS = 500;

/** Knows no name yet. */
export function createNames(lookUp: Lookup, clock: Clock): Names {
  const last = new Map<string, readonly string[]>();
  /** One lookup at a time of each name: those that hang must not pile up. */
  const pending = new Map<string, Promise<readonly string[]>>();

  const fresh: Lookup = (hostname) => {
    const under = pending.get(hostname);
    if (under !== undefined) return under;
    const asked = lookUp(hostname)
      .then((addresses) => {
        if (addresses.length > 0) last.set(hostname, addresses);
        return addresses;
      })
      .finally(() => pending.delete(hostname));
    pending.set(hostname, asked);
    return asked;
  };

  const remembered: Lookup = async (hostname) => {
    const before = last.get(hostname);
    const asked = fresh(hostname);
    if (before === undefined) return await asked;
    const now = asked.catch(() => before);
    return await within(clock, DNS_LIMIT_MS, now, () => before);
  };

  return {
    lookup: fresh,
    forConnections(hostname, { all, family }, callback) {
      remembered(hostname).then(
        (found) => {
          const addresses = found.map((address) => ({ address, family: isIP(address) }));
          const wanted = addresses.filter((one) => !family || one.family === Number(family));
          const [first] = wanted;
          if (all === true && first !== undefined) callback(null, wanted);
          else if (first !== undefined) callback(null, first.address, first.family);
          else callback(notFound(hostname), '', 0);
        },
        (error: NodeJS.ErrnoException) => callback(error, '', 0),
      );
    },
  };
}

function notFound(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${hostname} has no address`), { code: 'ENOTFOUND' });
}
