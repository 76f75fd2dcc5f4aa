/** `trousseau preflight`: whether a new process could take over from the one that runs. */

import { formatDuration, parseDuration } from '../config/duration.ts';
import type { ResolvedConfig } from '../config/environment.ts';
import { readConfigFile } from '../config/load.ts';
import { formatProblems } from '../config/problem.ts';
import { createKmsClient } from '../kms/client.ts';
import { createLog, LOG_LEVELS, type LogFormat, type LogLevel, silentLog } from '../observe/log.ts';
import { createLoginMemory } from '../providers/vault/auth/login-memory.ts';
import { systemClock } from '../system/clock.ts';
import { askRunning } from './admin-client.ts';
import {
  type Command,
  DEFAULT_CONFIG,
  EXIT,
  type ExitCode,
  type Invocation,
  OUTPUT_OPTION,
} from './command.ts';
import { interruptible } from './interruptible.ts';
import { prove, type RunningKeys, type Step } from './preflight/proof.ts';
import { proveSocket } from './preflight/socket.ts';
import { isAcknowledged } from './providers.ts';
import { TRIAL_LIMIT_MS } from './trial.ts';

const DEFAULT_LIMIT = formatDuration(TRIAL_LIMIT_MS);
const STATUS_LIMIT_MS = 2_000;

export const preflightCommand: Command = {
  name: 'preflight',
  summary: 'prove that a new process could take over from the one that runs',
  usage: [
    'trousseau preflight [--config FILE] [--running] [--inherited PATH] [--time-limit DURATION]',
    '                    [--output FORMAT] [--log-level LEVEL] [--log-format FORMAT]',
  ],
  description:
    'Does what serve would do, beside the process that runs: reads the configuration and its secret\n' +
    'files, loads the keyring or logs in to Vault, reads the key, encrypts and decrypts a sample. Then\n' +
    'it compares the key versions with those of the running process, which it asks at the admin\n' +
    'endpoint. It opens no socket, changes nothing, and gives back the token that it was granted. Run\n' +
    'it as the user of the service; /usr/lib/trousseau/restart does so, with the credentials of the\n' +
    'unit, before it restarts. With --running the rights of the socket are checked too.',
  examples: [
    { command: 'trousseau preflight', what: `would a restart with ${DEFAULT_CONFIG} succeed?` },
    { command: 'trousseau preflight -c /etc/trousseau/new.yaml -o json', what: 'in a script' },
  ],
  options: {
    config: {
      type: 'string',
      short: 'c',
      value: 'FILE',
      what: `the configuration; ${DEFAULT_CONFIG} without it`,
    },
    running: {
      type: 'boolean',
      what: 'a process runs: if it does not say which keys it has, nothing is proved',
    },
    inherited: {
      type: 'string',
      value: 'PATH',
      what: 'with --running: the socket from systemd, instead of listen.socket',
    },
    'time-limit': {
      type: 'string',
      value: 'DURATION',
      what: `the longest that it may take; at most, and without it, ${DEFAULT_LIMIT}`,
    },
    output: OUTPUT_OPTION,
    'log-level': {
      type: 'string',
      value: 'LEVEL',
      what: 'log on stderr meanwhile; nothing without it',
      choices: LOG_LEVELS,
    },
    'log-format': {
      type: 'string',
      value: 'FORMAT',
      what: 'instead of the format in the configuration',
      choices: ['json', 'text'],
    },
  },
  async run(invocation): Promise<ExitCode> {
    const { options, positionals, env, err } = invocation;
    if (positionals.length > 0) {
      err('it takes no arguments; see trousseau preflight --help\n');
      return EXIT.usage;
    }
    const limitMs = parseDuration(String(options['time-limit'] ?? DEFAULT_LIMIT)) ?? 0;
    if (limitMs === 0 || limitMs > TRIAL_LIMIT_MS) {
      err(`--time-limit must be a duration up to ${DEFAULT_LIMIT}, such as 10s\n`);
      return EXIT.usage;
    }
    const file = typeof options['config'] === 'string' ? options['config'] : DEFAULT_CONFIG;
    const loaded = await readConfigFile(file, env);
    if (!loaded.ok) {
      const what = formatProblems(loaded.problems).trimEnd();
      report([{ step: 'configuration', ok: false, what }], invocation);
      return EXIT.usage;
    }
    const { config } = loaded;
    const level = options['log-level'] as LogLevel | undefined;
    const format = (options['log-format'] as LogFormat | undefined) ?? config.log.format;
    const log = level === undefined ? silentLog : createLog({ level, format });
    const runs = options['running'] === true;
    const inherited = typeof options['inherited'] === 'string' ? options['inherited'] : undefined;
    const steps: readonly Step[] = [
      { step: 'configuration', ok: true, what: file },
      ...(await interruptible((signal) =>
        prove(config, () => runningKeys(config), {
          ...{ env, log, limitMs, runs, signal },
          clock: systemClock,
          isAcknowledged: (lost) => isAcknowledged(config, lost),
          logins: createLoginMemory(systemClock),
        }),
      )),
      // Whatever came of the others: who has to repair it may have to restart without a proof.
      ...(runs ? [proveSocket(config.listen, inherited)] : []),
    ];
    report(steps, invocation);
    return steps.every(({ ok }) => ok) ? EXIT.ok : EXIT.failure;
  },
};

/** Asks the admin endpoint; where it is silent, Status on the socket of kube-apiserver. */
async function runningKeys(config: ResolvedConfig): Promise<RunningKeys | undefined> {
  const running = await askRunning(config.admin);
  if (running?.keyIds !== undefined) return { keyIds: running.keyIds, incomplete: undefined };
  if (running !== undefined) {
    const keyIds = running.keyId === undefined ? [] : [running.keyId];
    return {
      keyIds,
      incomplete: 'other versions, which a process of an older version does not list',
    };
  }
  const announced = await announcedKey(config.listen.socket);
  if (announced === undefined) return undefined;
  return { keyIds: [announced], incomplete: 'other versions, since no admin endpoint answers' };
}

async function announcedKey(socket: string): Promise<string | undefined> {
  const client = createKmsClient(socket, STATUS_LIMIT_MS);
  try {
    const { key_id } = await client.v2.status();
    return key_id === '' ? undefined : key_id;
  } catch {
    return undefined; // nobody serves there, or it has not had a key yet
  } finally {
    client.close();
  }
}

function report(steps: readonly Step[], { options, out, err }: Invocation): void {
  if (options['output'] === 'json') {
    out(`${JSON.stringify({ ok: steps.every(({ ok }) => ok), steps })}\n`);
    return;
  }
  for (const { step, ok, what } of steps) {
    const say = ok ? out : err;
    say(`${ok ? 'proved' : 'NOT PROVED'}: ${step}: ${what}\n`);
  }
}
