/**
 * Whether the providers that only decrypt would do so. No call asks them before a kube-apiserver reads what
 * they protect, often when it starts: then it is late to find out that a policy has lost a line.
 * docs/decisions/0019-providers-that-only-decrypt.md
 */
import type { Log } from '../observe/log.ts';
import { fail, type ProviderError, type Result } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import type { Clock, Timer } from '../system/clock.ts';
import { unlessAborted, withLimit } from '../system/within.ts';
import { isTransient } from './state.ts';

/** A provider that only decrypts, and does not now. */
export type ReaderTrouble = {
  readonly provider: string;
  readonly error: ProviderError;
  /** In milliseconds since the epoch. */
  readonly since: number;
};

export type ReaderChecks = {
  start(): void;
  stop(): void;
  /** A call has met with trouble, or with none where there was some: checks soon. */
  checkSoon(reader: Provider, isWell: boolean): void;
  /** What came of the first check of the provider of this name, when it has ended. */
  first(name: string): Promise<Result<void>>;
  troubles(): readonly ReaderTrouble[];
};

export type ReaderChecksOptions = {
  readonly readers: readonly Provider[];
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each outcome. */
  readonly saw: (reader: Provider, outcome: Result<void>) => void;
  /** Told that a provider refuses which did not before, and in what words. */
  readonly refused: (why: string) => void;
};

const LIMIT_MS = 5_000;
/** While all is well: Vault's audit log has each check as a request that failed. */
const WELL_MS = 3_600_000;
const TROUBLE_MS = 60_000;
/** However often calls ask for a check, two are so far apart. */
const SPACING_MS = 5_000;
const REMINDER_MS = 5 * 60_000;
const JITTER = 0.1;
const ROLE = { role: 'only decrypts' } as const;

type Check = Omit<ReaderChecks, 'troubles' | 'first' | 'checkSoon'> & {
  readonly first: Promise<Result<void>>;
  checkSoon(isWell: boolean): void;
  trouble(): ReaderTrouble | undefined;
};

/** Checks that have not started yet. */
export function createReaderChecks(options: ReaderChecksOptions): ReaderChecks {
  const checks = new Map(
    options.readers.map((reader) => [reader.name, createCheck(reader, options)]),
  );
  const all = [...checks.values()];
  return {
    start() {
      for (const check of all) check.start();
    },
    stop() {
      for (const check of all) check.stop();
    },
    checkSoon: (reader, isWell) => checks.get(reader.name)?.checkSoon(isWell),
    first: (name) =>
      checks.get(name)?.first ?? Promise.resolve(fail('internal', `${name} is not checked`)),
    troubles: () => all.flatMap((check) => check.trouble() ?? []),
  };
}

function createCheck(
  reader: Provider,
  { clock, log, saw, refused }: Omit<ReaderChecksOptions, 'readers'>,
): Check {
  const { name } = reader;
  const lifetime = new AbortController();
  const first = Promise.withResolvers<Result<void>>();
  let timer: Timer | undefined;
  let trouble: ReaderTrouble | undefined;
  let checking = false;
  let checkedAt = Number.NEGATIVE_INFINITY;
  let loggedAt = Number.NEGATIVE_INFINITY;

  const learn = (outcome: Result<void>): void => {
    const before = trouble;
    if (outcome.ok) {
      trouble = undefined;
      if (before !== undefined)
        log.info?.('provider decrypts again', { provider: name, ...ROLE, ...secondsSince(before) });
      return;
    }
    const { error } = outcome;
    trouble = { provider: name, error, since: before?.since ?? clock.now() };
    const isRefusal = !isTransient(error.kind);
    const isNews = before === undefined || isTransient(before.error.kind) === isRefusal;
    if (isNews && isRefusal) refused(error.message);
    if (!isNews && clock.now() - loggedAt < REMINDER_MS) return;
    loggedAt = clock.now();
    const facts = { provider: name, ...ROLE, kind: error.kind, why: error.message };
    if (isRefusal) log.error('provider refuses', { ...facts, ...secondsSince(trouble) });
    else log.warn?.('provider unavailable', { ...facts, ...secondsSince(trouble) });
  };

  const secondsSince = ({ since }: ReaderTrouble): { readonly seconds: number } => ({
    seconds: Math.round((clock.now() - since) / 1000),
  });

  const check = async (): Promise<void> => {
    timer?.cancel();
    timer = undefined;
    checking = true;
    checkedAt = clock.now();
    const outcome = await withLimit(clock, LIMIT_MS, lifetime.signal, (signal) =>
      unlessAborted(reader.mayDecrypt(signal), signal, () =>
        fail('unavailable', `${name}: no answer in time`),
      ),
    );
    checking = false;
    first.resolve(outcome);
    if (lifetime.signal.aborted) return;
    learn(outcome);
    saw(reader, outcome);
    again((outcome.ok ? WELL_MS : TROUBLE_MS) * (1 + JITTER * clock.random()));
  };

  const again = (ms: number): void => {
    timer?.cancel();
    timer = clock.setTimer(ms, () => void check());
  };

  return {
    first: first.promise,
    start: () => void check(),
    stop() {
      lifetime.abort();
      timer?.cancel();
      timer = undefined;
    },
    checkSoon(isWell) {
      if (checking || lifetime.signal.aborted || isWell === (trouble === undefined)) return;
      again(Math.max(0, checkedAt + SPACING_MS - clock.now()));
    },
    trouble: () => trouble,
  };
}
