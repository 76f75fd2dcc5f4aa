/**
 * Changes the configuration of a running daemon: reads it, tries it, and only then takes it. One at
 * a time, and the last one wins.
 */
import type { ResolvedConfig } from '../config/environment.ts';
import { type ConfigProblem, formatProblems } from '../config/problem.ts';
import type { Log } from '../observe/log.ts';
import type { ConfigSource } from './config-source.ts';

/** What became of the last reload, for /readyz. */
export type ReloadReport = {
  readonly at: string;
  readonly ok: boolean;
  readonly why?: string;
  /** How many requests there had been when its trial began: it is the result of all of them. */
  readonly requests: number;
};

export type Reloader = {
  /** Somebody asks for it: also an unchanged file is tried, since what it names may have changed. */
  now(): void;
  /** The file may have changed: does nothing where its content is what was seen last. */
  look(): void;
  /** Undefined while there was none. */
  report(): ReloadReport | undefined;
  /** How many requests there were, that is calls of `now`. */
  requests(): number;
  /** Gives up what is under way; resolves when nothing is left of it. */
  stop(): Promise<void>;
};

/** A configuration that has been tried. */
export type Candidate =
  | {
      readonly ok: true;
      /** What a person should know all the same. */
      readonly warnings: readonly string[];
      /** Puts it in the place of the one in use, as soon as its key_id outlives the process. */
      take(): Promise<void>;
      /** Forgets it, and ends what it had begun. */
      discard(): Promise<void>;
    }
  | {
      readonly ok: false;
      readonly why: string;
      /** Makes hold what no trial is about, where that has changed. */
      readonly take?: () => Promise<void>;
    };

export type ReloaderOptions = {
  readonly read: ConfigSource;
  /** The fingerprint of the configuration that the daemon was started with. */
  readonly seen: string;
  /**
   * Tries a configuration; one that is not ok has left nothing behind. `evenIfSame` is for what may
   * have changed although the configuration has not.
   */
  readonly attempt: (
    config: ResolvedConfig,
    evenIfSame: boolean,
    signal: AbortSignal,
  ) => Promise<Candidate>;
  readonly log: Log;
  /** The time for the report; the machine's unless given. */
  readonly now?: () => Date;
};

type Request = 'look' | 'now';

/** A reloader that waits to be asked. */
export function createReloader(options: ReloaderOptions): Reloader {
  const { read, attempt, log, now = () => new Date() } = options;
  let seen: string | undefined = options.seen;
  let wanted: Request | undefined;
  let working: Promise<void> | undefined;
  let underWay: AbortController | undefined;
  let stopped = false;
  let report: ReloadReport | undefined;
  let requests = 0;
  /** Of these, those that had been made when the trial under way began. */
  let covered = 0;

  const refuse = (why: string): void => {
    report = { at: now().toISOString(), ok: false, why, requests: covered };
    log.error('reload refused: the configuration in use stays', { why });
  };

  const reload = async (request: Request): Promise<void> => {
    const { fingerprint, result } = await read();
    if (stopped || (request === 'look' && fingerprint === seen)) return;
    seen = fingerprint;
    if (!result.ok) return refuse(lines(result.problems).join('; '));
    for (const why of lines(result.warnings)) log.warn?.('configuration', { why });
    const trial = new AbortController();
    underWay = trial;
    const candidate = await attempt(result.config, request === 'now', trial.signal);
    underWay = undefined;
    // What was tried must be what the file holds, or else half of it may have been tried.
    const superseded = trial.signal.aborted || (await read()).fingerprint !== fingerprint;
    if (stopped || superseded) {
      // Whatever the file holds by then has not been tried, though it may be the same again.
      seen = undefined;
      wanted = wanted === 'now' ? 'now' : request;
      if (!stopped) log.info?.('reload begins anew: a newer one is wanted');
      if (candidate.ok) await candidate.discard();
      return;
    }
    if (!candidate.ok) {
      await candidate.take?.();
      return refuse(candidate.why);
    }
    await candidate.take();
    const why = candidate.warnings.join('; ');
    const said = why === '' ? {} : { why };
    report = { at: now().toISOString(), ok: true, ...said, requests: covered };
    if (why !== '') log.warn?.('reload', { why });
    log.info?.('configuration reloaded');
  };

  const work = async (): Promise<void> => {
    while (wanted !== undefined && !stopped) {
      const request = wanted;
      wanted = undefined;
      covered = requests;
      try {
        await reload(request);
      } catch (error) {
        underWay = undefined;
        refuse(`unexpected ${error instanceof Error ? error.name : typeof error}`);
      }
    }
    working = undefined;
  };

  const request = (asked: Request): void => {
    if (stopped) return;
    wanted = wanted === 'now' ? 'now' : asked;
    working ??= work();
  };

  return {
    now() {
      requests += 1;
      underWay?.abort();
      request('now');
    },
    look() {
      const trial = underWay;
      request('look');
      if (trial === undefined) return;
      // A trial may take its time: it need not where the file is another one by now.
      void read().then(({ fingerprint }) => {
        if (fingerprint !== seen) trial.abort();
      });
    },
    report: () => report,
    requests: () => requests,
    async stop() {
      stopped = true;
      underWay?.abort();
      await working;
    },
  };
}

function lines(problems: readonly ConfigProblem[]): readonly string[] {
  return problems.map((problem) => formatProblems([problem]).trim());
}
