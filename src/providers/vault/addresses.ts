/**
 * The servers of one Vault: sticks to the one that works, goes to the next when it does not, within
 * the caller's deadline. A connection reads its TLS files when it is made.
 */
import { fail, type Result } from '../errors.ts';
import type { TlsMaterial, VaultConnection, VaultReply, VaultRequest } from './http.ts';

export type Addresses = {
  /** An answer of any status of the first server that can serve. */
  request(request: VaultRequest, signal: AbortSignal): Promise<Result<VaultReply>>;
  /** Reads the TLS files again, and makes new connections where they have changed. */
  refresh(): Promise<Result<void>>;
  close(): Promise<void>;
};

export type AddressesOptions = {
  readonly addresses: readonly string[];
  readonly readTls: () => Promise<Result<TlsMaterial>>;
  readonly connect: (address: string, tls: TlsMaterial) => VaultConnection;
};

/** Servers that cannot serve now, whatever is asked; another one may. */
const ELSEWHERE: readonly number[] = [472, 473, 501, 502, 503, 504];

/** Servers in the order of preference; nothing is opened before the first request. */
export function createAddresses({ addresses, readTls, connect }: AddressesOptions): Addresses {
  let connections: readonly VaultConnection[] | undefined;
  let material: TlsMaterial = {};
  let current = 0;
  const closing = new Set<Promise<void>>();

  const retire = (old: readonly VaultConnection[]): void => {
    for (const connection of old) {
      const closed = connection.close().finally(() => closing.delete(closed));
      closing.add(closed);
    }
  };

  const refresh = async (): Promise<Result<void>> => {
    const read = await readTls();
    if (!read.ok) return read;
    const { ca, cert, key } = read.value;
    if (
      connections !== undefined &&
      ca === material.ca &&
      cert === material.cert &&
      key === material.key
    ) {
      return { ok: true, value: undefined };
    }
    retire(connections ?? []);
    material = read.value;
    connections = addresses.map((address) => connect(address, material));
    return { ok: true, value: undefined };
  };

  return {
    refresh,
    async request(request, signal) {
      if (connections === undefined) {
        const refreshed = await refresh();
        if (!refreshed.ok) return refreshed;
      }
      const servers = connections ?? [];
      let last: Result<VaultReply> = fail(
        'unavailable',
        `${request.what}: no address is configured`,
      );
      const first = current;
      for (let i = 0; i < servers.length && !(i > 0 && signal.aborted); i += 1) {
        const at = (first + i) % servers.length;
        const outcome = await servers[at]?.request(request, signal);
        if (outcome === undefined) break;
        const elsewhere = outcome.ok
          ? ELSEWHERE.includes(outcome.value.status)
          : outcome.error.kind === 'unavailable';
        if (!elsewhere) {
          current = at;
          return outcome;
        }
        last = outcome;
        if (request.once === true && outcome.ok === false) break;
      }
      return last;
    },
    async close() {
      retire(connections ?? []);
      connections = [];
      await Promise.all(closing);
    },
  };
}
