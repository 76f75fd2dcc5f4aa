/**
 * Calls that failed, counted by reason and key version, and logged at a bounded rate: when every
 * Decrypt fails, the log of the level that people run says so, and so does /readyz.
 */
import type { Log } from '../observe/log.ts';
import type { ProviderError, ProviderErrorKind } from '../providers/errors.ts';
import type { Clock } from '../system/clock.ts';

/** Names that metrics can take over: the labels are bounded in number. */
export type FailureCount = {
  readonly call: FailedCall;
  readonly reason: ProviderErrorKind;
  /** As the ciphertext names it; `none` where it names none, `other` beyond the bound. */
  readonly keyVersion: string;
  readonly count: number;
};

export type FailedCall = 'encrypt' | 'decrypt';

export type Failures = {
  /** One call has failed with what its caller is told. */
  saw(call: FailedCall, error: ProviderError, version: number | undefined): void;
  /** One call was cancelled by its caller before its deadline, and has not failed. */
  sawCancelled(): void;
  cancelled(): number;
  counts(): readonly FailureCount[];
};

/** Each combination of call, reason and version is logged once in this time, with how many there were. */
const REPEAT_MS = 60_000;
/** Who can write to etcd chooses the versions that are asked for. */
const MOST_VERSIONS = 16;

type Kept = { call: FailedCall; reason: ProviderErrorKind; keyVersion: string } & {
  count: number;
  logged: number;
  loggedAt: number;
};

/** Nothing has failed yet. */
export function createFailures(log: Log, clock: Clock): Failures {
  const kept = new Map<string, Kept>();
  const versions = new Set<string>();
  let cancelled = 0;

  const labelOf = (version: number | undefined): string => {
    if (version === undefined) return 'none';
    const label = String(version);
    if (versions.size < MOST_VERSIONS) versions.add(label);
    return versions.has(label) ? label : 'other';
  };

  return {
    sawCancelled() {
      cancelled += 1;
    },
    cancelled: () => cancelled,
    saw(call, { kind: reason, message: why }, version) {
      const keyVersion = labelOf(version);
      const name = `${call} ${reason} ${keyVersion}`;
      let entry = kept.get(name);
      if (entry === undefined) {
        const loggedAt = Number.NEGATIVE_INFINITY;
        entry = { call, reason, keyVersion, count: 0, logged: 0, loggedAt };
        kept.set(name, entry);
      }
      entry.count += 1;
      const now = clock.now();
      if (now - entry.loggedAt < REPEAT_MS) return;
      const failed = entry.count - entry.logged;
      log.warn?.('calls fail', { call, reason, keyVersion, failed, why });
      entry.logged = entry.count;
      entry.loggedAt = now;
    },
    counts: () =>
      [...kept.values()].map(({ call, reason, keyVersion, count }) => ({
        ...{ call, reason, keyVersion, count },
      })),
  };
}
