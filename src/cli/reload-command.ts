/** `trousseau reload`: has a running daemon read its configuration again, and says what became of it. */
import type { ResolvedConfig } from '../config/environment.ts';
import { readConfigFile } from '../config/load.ts';
import { formatProblems } from '../config/problem.ts';
import { sleep, systemClock } from '../system/clock.ts';
import { askRunning, type Running, type RunningReload } from './admin-client.ts';
import { type Command, DEFAULT_CONFIG, EXIT, type ExitCode, type Invocation } from './command.ts';
import { TRIAL_LIMIT_MS } from './trial.ts';

/** Why a process gets no signal; kill(2). */
const WHY: Readonly<Record<string, string>> = {
  ESRCH: ': it does not run',
  EPERM: ': it belongs to another user: run this as root',
};
const POLL_MS = 200;
/** A trial that is under way, and then the one of this request; below the unit's TimeoutStartSec=, which bounds a reload. */
export const RELOAD_LIMIT_MS = 2 * TRIAL_LIMIT_MS + 15_000;

export const reloadCommand: Command = {
  name: 'reload',
  summary: 'have a running plugin take its configuration, and wait for the result',
  usage: ['trousseau reload --pid PID [--config FILE]'],
  description:
    'Sends SIGHUP to the process, waits until it has tried its configuration, and says what became of it:\n' +
    'taken, or refused and why, in which case the configuration in use stays. It asks the admin endpoint\n' +
    'that the configuration names. systemctl reload trousseau.service runs it.',
  examples: [{ command: 'systemctl reload trousseau.service', what: 'as a service' }],
  options: {
    pid: {
      type: 'string',
      value: 'PID',
      what: 'the process; MAINPID of the environment without it',
    },
    config: {
      type: 'string',
      short: 'c',
      value: 'FILE',
      what: `its configuration; ${DEFAULT_CONFIG} without it`,
    },
  },
  async run({ options, positionals, env, out, err }): Promise<ExitCode> {
    const pid = Number(options['pid'] ?? env['MAINPID']);
    if (positionals.length > 0 || !Number.isSafeInteger(pid) || pid <= 1) {
      err(
        'it needs the number of the process, --pid PID, which systemctl reload trousseau gives it; see trousseau reload --help\n',
      );
      return EXIT.usage;
    }
    const file = typeof options['config'] === 'string' ? options['config'] : DEFAULT_CONFIG;
    const loaded = await readConfigFile(file, env);
    const admin = loaded.ok ? loaded.config.admin : {};
    const before = await askRunning(admin);
    try {
      process.kill(pid, 'SIGHUP');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      err(`cannot signal process ${pid}: ${code}${code === undefined ? '' : (WHY[code] ?? '')}\n`);
      return EXIT.failure;
    }
    if (!loaded.ok) {
      err(`${formatProblems(loaded.problems)}reload refused: the configuration in use stays\n`);
      return EXIT.usage;
    }
    if (before !== undefined) return await outcome(admin, before, { out, err });
    const place = admin.address ?? admin.socket;
    const elsewhere = 'SIGHUP was sent, and its result is in the status and the log of the service';
    if (place === undefined) {
      out(`${elsewhere}: the configuration names no admin endpoint to ask\n`);
      return EXIT.ok;
    }
    err(`${elsewhere}: the admin endpoint ${place} does not answer\n`);
    return EXIT.failure;
  },
};

/**
 * Whether a report is the result of a request that was made after `before`. A trial that was under way
 * by then may have read an earlier file, and its result is not the one that is waited for.
 */
export function answers(report: RunningReload, before: Running): boolean {
  // A process of an older version does not count requests.
  if (report.requests === undefined || before.reloadRequests === undefined)
    return report.at !== before.reload?.at;
  return report.requests > before.reloadRequests;
}

/** Waits for the report that answers the request. */
async function outcome(
  admin: ResolvedConfig['admin'],
  before: Running,
  { out, err }: Pick<Invocation, 'out' | 'err'>,
): Promise<ExitCode> {
  const unlimited = new AbortController().signal;
  const end = systemClock.now() + RELOAD_LIMIT_MS;
  while (systemClock.now() < end) {
    const reload = (await askRunning(admin))?.reload;
    if (reload !== undefined && answers(reload, before)) {
      const why = reload.why === undefined ? '' : `: ${reload.why}`;
      if (!reload.ok) {
        err(`reload refused: the configuration in use stays${why}\n`);
        return EXIT.failure;
      }
      out(`configuration reloaded${why}\n`);
      return EXIT.ok;
    }
    await sleep(systemClock, POLL_MS, unlimited);
  }
  err(
    `no result within ${RELOAD_LIMIT_MS / 1000} s: the trial goes on, and the status of the service will say how it ends\n`,
  );
  return EXIT.failure;
}
