/**
 * Which servers a Vault has now, with which TLS files. Both may change while it runs: names may get
 * other addresses, certificates are replaced before they expire.
 */
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../system/clock.ts';
import { within } from '../../system/within.ts';
import { fail, type Result } from '../errors.ts';
import { createCircuit } from './circuit.ts';
import type { Target, TlsMaterial } from './dispatcher.ts';
import type { VaultConnection } from './http.ts';
import { createLoginSpacing } from './login-spacing.ts';
import { createPace } from './pace.ts';
import type { Resolution } from './resolve.ts';
import { nameOf, type Server } from './server.ts';

export type ServerSet = {
  /** Most preferred first; undefined before the first `refresh`. */
  all(): readonly Server[] | undefined;
  /** Reads the TLS files again, and makes new connections where they have changed. */
  refresh(): Promise<Result<void>>;
  /** A server failed: it may have another address, or want another certificate by now. */
  failed(): void;
  /** A request is made: a reason to look up again, now and then, what DNS did not answer. */
  asked(): void;
  close(): Promise<void>;
};

export type ServerSetOptions = {
  /** Looks up the servers, keeping those `held` that cannot be looked up now; never rejects. */
  readonly resolve: (held: readonly Target[]) => Promise<Resolution>;
  readonly readTls: () => Promise<Result<TlsMaterial>>;
  readonly connect: (target: Target, tls: TlsMaterial) => VaultConnection;
  readonly clock: Clock;
  readonly log: Log;
};

/** Longer than this nobody waits for a file: a network file system may hang for ever. */
const READ_LIMIT_MS = 2_000;
/** While servers fail their names are looked up again, and the TLS files read, at most so often. */
const RENEW_SPACING_MS = 5_000;
/** While all is well but for DNS. */
const LOOKUP_SPACING_MS = 60_000;

/**
 * Nothing is opened before the first request.
 *
 * @param changed called when the servers are other ones
 */
export function createServerSet(options: ServerSetOptions, changed: () => void): ServerSet {
  const { clock, log } = options;
  let servers: readonly Server[] | undefined;
  let material: TlsMaterial = {};
  let reading: Promise<Result<TlsMaterial>> | undefined;
  let resolving: Promise<void> | undefined;
  let complete = true;
  let lookedUpAt = 0;
  let renewedAt = Number.NEGATIVE_INFINITY;
  let closed = false;
  const closing = new Set<Promise<void>>();

  const retire = (old: readonly Server[]): void => {
    for (const { connection } of old) {
      const ended = connection.close().finally(() => closing.delete(ended));
      closing.add(ended);
    }
  };

  /** Replaces the servers, keeping those that stay what they are. */
  const replace = (targets: readonly Target[], keep: readonly Server[]): void => {
    const kept = new Map(keep.map((server) => [nameOf(server.target), server]));
    const next = targets.map(
      (target): Server =>
        kept.get(nameOf(target)) ?? {
          target,
          connection: options.connect(target, material),
          circuit: createCircuit(clock),
          pace: createPace(),
          logins: createLoginSpacing(clock),
        },
    );
    retire((servers ?? []).filter((server) => !next.includes(server)));
    servers = next;
    changed();
  };

  const targets = (): readonly Target[] => (servers ?? []).map(({ target }) => target);

  const resolve = (): Promise<void> => {
    resolving ??= options
      .resolve(targets())
      .then((found) => {
        if (closed) return;
        complete = found.complete;
        lookedUpAt = clock.now();
        const same = found.targets.map(nameOf).join() === targets().map(nameOf).join();
        if (!same) replace(found.targets, servers ?? []);
      })
      .finally(() => {
        resolving = undefined;
      });
    return resolving;
  };

  /** One read at a time: those that hang must not pile up. */
  const read = (): Promise<Result<TlsMaterial>> => {
    reading ??= options.readTls().finally(() => {
      reading = undefined;
    });
    return within(clock, READ_LIMIT_MS, reading, () =>
      fail('unavailable', 'reading the TLS files for Vault takes too long'),
    );
  };

  const refresh = async (): Promise<Result<void>> => {
    const tls = await read();
    if (!tls.ok) {
      if (servers === undefined) return tls;
      // Half of a pair that is being replaced: what there is serves until the other half is there.
      log.warn?.('TLS files not taken', { why: tls.error.message });
      return { ok: true, value: undefined };
    }
    const { ca, cert, key, machine = material.machine } = tls.value;
    const other =
      ca !== material.ca ||
      cert !== material.cert ||
      key !== material.key ||
      machine !== material.machine;
    material = machine === undefined ? tls.value : { ...tls.value, machine };
    if (servers === undefined) await resolve();
    else if (other && !closed) replace(targets(), []);
    return { ok: true, value: undefined };
  };

  const renew = async (): Promise<void> => {
    if (closed || clock.now() - renewedAt < RENEW_SPACING_MS) return;
    renewedAt = clock.now();
    await refresh();
    await resolve();
  };

  return {
    all: () => servers,
    refresh,
    failed: () => void renew(),
    asked() {
      if (!complete && clock.now() - lookedUpAt >= LOOKUP_SPACING_MS) void resolve();
    },
    async close() {
      closed = true;
      retire(servers ?? []);
      servers = [];
      await Promise.all(closing);
    },
  };
}
