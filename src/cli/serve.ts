/** `trousseau serve`: the daemon, from its configuration to its clean end. */
import type { ResolvedConfig } from '../config/environment.ts';
import { formatProblems } from '../config/problem.ts';
import {
  asErrors,
  createLog,
  isJournal,
  LOG_LEVELS,
  type Log,
  type LogFormat,
  type LogLevel,
} from '../observe/log.ts';
import { systemClock } from '../system/clock.ts';
import { takeInheritedSockets } from '../system/inherited-sockets.ts';
import { type Command, DEFAULT_CONFIG, EXIT, type ExitCode } from './command.ts';
import { configFile } from './config-source.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { createLiveLog } from './live-log.ts';
import { listenForSignals } from './signals.ts';
import { createLastNet } from './uncaught.ts';

const STDERR = 2;

export const serveCommand: Command = {
  name: 'serve',
  summary: 'run the KMS plugin',
  usage: ['trousseau serve [--config FILE] [--log-level LEVEL] [--log-format FORMAT]'],
  description:
    'Answers kube-apiserver on a unix socket until SIGTERM or SIGINT. The socket is there at once,\n' +
    'whatever the providers do; the process does not end because one of them is down, sealed or\n' +
    'refusing. A changed configuration is tried, and taken where it works; SIGHUP has it tried again.',
  examples: [
    { command: 'trousseau serve', what: `run with ${DEFAULT_CONFIG}` },
    {
      command: 'trousseau serve --config ./trousseau.yaml --log-level debug --log-format text',
      what: 'see every call, in a form for people',
    },
  ],
  options: {
    config: {
      type: 'string',
      short: 'c',
      value: 'FILE',
      what: `the configuration; ${DEFAULT_CONFIG} without it`,
    },
    'log-level': {
      type: 'string',
      value: 'LEVEL',
      what: 'instead of the level in the configuration',
      choices: LOG_LEVELS,
    },
    'log-format': {
      type: 'string',
      value: 'FORMAT',
      what: 'instead of the format in the configuration',
      choices: ['json', 'text'],
    },
  },
  async run({ options, positionals, env, err: print }): Promise<ExitCode> {
    const journal = isJournal(env, STDERR);
    const err = (text: string): void => print(journal ? asErrors(text) : text);
    if (positionals.length > 0) {
      err(
        'it takes no arguments: name the configuration with --config; see trousseau serve --help\n',
      );
      return EXIT.usage;
    }
    const file = typeof options['config'] === 'string' ? options['config'] : DEFAULT_CONFIG;
    const inherited = takeInheritedSockets(process.env, process.pid);
    const read = configFile(file, env);
    const { fingerprint, result: loaded } = await read();
    if (!loaded.ok) {
      err(formatProblems(loaded.problems));
      if (options['config'] === undefined) err('name another configuration with --config\n');
      return EXIT.usage;
    }
    const { config, warnings } = loaded;
    const logOf = ({ log: { level, format } }: ResolvedConfig): Log =>
      createLog({
        severity: journal,
        level: (options['log-level'] as LogLevel | undefined) ?? level,
        format: (options['log-format'] as LogFormat | undefined) ?? format,
      });
    const live = createLiveLog(logOf(config));
    const { log } = live;
    for (const warning of warnings)
      log.warn?.('configuration', { why: formatProblems([warning]).trim() });
    process.on('uncaughtException', createLastNet(log, process.exit));
    const signals = listenForSignals(log, systemClock);
    const daemon =
      'problem' in inherited
        ? inherited
        : await startDaemon({
            config,
            file: { path: file, fingerprint },
            read,
            env,
            live,
            logOf,
            inherited: inherited.kms,
            others: inherited.others,
            warnings: inherited.warnings,
          });
    if ('problem' in daemon) {
      log.error('cannot start', { why: daemon.problem });
      return EXIT.failure;
    }
    signals.onHangup(daemon.reload);
    await signals.stop;
    return await stopDaemon(daemon, signals.again, log);
  },
};

async function stopDaemon(daemon: Daemon, again: Promise<void>, log: Log): Promise<ExitCode> {
  const ended = await Promise.race([
    daemon.stop().then(() => 'clean' as const),
    again.then(() => 'cut' as const),
  ]);
  log.info?.('stopped', { end: ended });
  return ended === 'clean' ? EXIT.ok : EXIT.failure;
}
