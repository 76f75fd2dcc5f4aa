/** The keyring's state as /readyz shows it to people and probes. */
import type { FailureCount } from '../keyring/failures.ts';
import { keyId } from '../keyring/key-id.ts';
import type { Remembered } from '../keyring/outage-memory.ts';
import type { ReaderTrouble } from '../keyring/reader-checks.ts';
import { isTransient, type KeyringState, knownKey } from '../keyring/state.ts';
import type { KmsOpen } from '../kms/server.ts';
import type { Readiness } from '../observe/admin.ts';
import type { KeyDescription } from '../providers/provider.ts';
import type { ReloadReport } from './reload.ts';

/** What readiness is decided and told from. */
export type Observed = {
  readonly state: KeyringState;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly reload: ReloadReport | undefined;
  /** How many reloads were requested since the start; `reload` says which of them it is the result of. */
  readonly reloadRequests: number;
  /** The decrypt-only providers that are down or refuse. */
  readonly readers: readonly ReaderTrouble[];
  /** The keys whose material this process has in memory. */
  readonly loaded: readonly KeyDescription[];
  /** How many items wait for a free request to a provider. */
  readonly queued: number;
  /** Why clients cannot reach this process by the path of the socket; undefined while they can. */
  readonly lost: string | undefined;
  /** Calls that failed since the start, by reason and key version. */
  readonly failedCalls: readonly FailureCount[];
  /** Calls that their client has cancelled before their deadline. */
  readonly cancelledCalls: number;
  readonly connections: KmsOpen;
  /** What is kept for an outage, where anything is to be. */
  readonly decryptCache: Remembered | undefined;
};

/**
 * Ready means: the provider answered lately, nothing stands against using the key, none that only
 * decrypts refuses to, and clients reach this process. A reload that was refused does not change that,
 * since the configuration before it is still in use.
 */
export function readinessOf(observed: Observed): Readiness {
  const { state, now, reload, reloadRequests, loaded, queued, lost, decryptCache } = observed;
  const { failedCalls, cancelledCalls, connections, readers } = observed;
  const refuses = ({ error }: ReaderTrouble): boolean => !isTransient(error.kind);
  const described = (trouble: ReaderTrouble): object => ({
    provider: trouble.provider,
    state: refuses(trouble) ? 'refused' : 'outage',
    seconds: Math.round((now - trouble.since) / 1000),
    why: trouble.error.message,
  });
  const key = knownKey(state);
  const inMemory = loaded.flatMap(({ path, versions }) =>
    versions.map((version) => keyId(path, version)),
  );
  return {
    ready: state.kind === 'ready' && lost === undefined && !readers.some(refuses),
    detail: {
      state: state.kind,
      ...(key === undefined ? {} : { keyId: key.keyId, keyVersion: key.version }),
      // What a successor must be able to load: the key versions in memory, and the announced one.
      keyIds: [...new Set([...(key === undefined ? [] : [key.keyId]), ...inMemory])],
      ...(state.kind === 'lost'
        ? { instead: { how: state.instead.how, keyVersion: state.instead.key.version } }
        : {}),
      ...(state.kind === 'ready'
        ? {}
        : { seconds: Math.round((now - state.since) / 1000), why: state.why?.message }),
      ...(readers.length === 0 ? {} : { decryptOnly: readers.map(described) }),
      queued,
      ...(lost === undefined ? {} : { socket: { reachable: false, why: lost } }),
      ...(failedCalls.length === 0 ? {} : { failedCalls }),
      ...(cancelledCalls === 0 ? {} : { cancelledCalls }),
      connections,
      ...(decryptCache === undefined ? {} : { decryptCache }),
      reloadRequests,
      ...(reload === undefined ? {} : { reload }),
    },
  };
}
