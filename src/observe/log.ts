/**
 * Log lines on stderr, one a call, as JSON (for machines) or as `key=value` text (for people).
 *
 * A level that is off is `undefined`, so that `log.debug?.('...', {...})` builds nothing where
 * nobody reads. Plaintexts, ciphertexts and tokens are never passed in: fields take no bytes.
 */
import { fstatSync, writeSync } from 'node:fs';
import { escapeUnprintable } from './printable.ts';

/** Levels, least severe first. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFormat = 'json' | 'text';

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;
/** Writes one line; `message` is a fixed text, what varies goes into the fields. */
export type LogLine = (message: string, fields?: LogFields) => void;

export type Log = {
  readonly debug: LogLine | undefined;
  readonly info: LogLine | undefined;
  readonly warn: LogLine | undefined;
  readonly error: LogLine;
  /** The same log with these fields on every line. */
  with(fields: LogFields): Log;
};

export type LogOptions = {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Takes one finished line with its line feed; stderr unless given. */
  readonly write?: (line: string) => void;
  /** The time, in milliseconds since the epoch. */
  readonly now?: () => number;
  /** Whether lines begin with their severity for the journal, as `<3>`; see `isJournal`. */
  readonly severity?: boolean;
};

/** Severities of syslog, as sd-daemon(3) has them at the beginning of a line. */
const SEVERITY = { debug: '<7>', info: '<6>', warn: '<4>', error: '<3>' } as const;

/** A log that drops what is below its level. */
export function createLog(options: LogOptions, inherited: LogFields = {}): Log {
  const write = options.write ?? ((line: string) => writeStderr(line));
  const now = options.now ?? Date.now;
  const render = options.format === 'json' ? renderJson : renderText;
  const threshold = LOG_LEVELS.indexOf(options.level);
  const line = (level: LogLevel): LogLine => {
    const prefix = options.severity === true ? SEVERITY[level] : '';
    return (message, fields) =>
      write(prefix + render(now(), level, message, { ...inherited, ...fields }));
  };
  const unlessOff = (level: LogLevel) =>
    LOG_LEVELS.indexOf(level) >= threshold ? line(level) : undefined;
  return {
    debug: unlessOff('debug'),
    info: unlessOff('info'),
    warn: unlessOff('warn'),
    error: line('error'),
    with: (fields) => createLog(options, { ...inherited, ...fields }),
  };
}

/** A log that nobody reads. */
export const silentLog: Log = {
  debug: undefined,
  info: undefined,
  warn: undefined,
  error: () => undefined,
  with: () => silentLog,
};

/** Puts the severity of an error before each line of a text that is no log line of ours. */
export function asErrors(text: string): string {
  return text.replace(/^(?=.)/gm, SEVERITY.error);
}

/**
 * Whether a file descriptor leads to the systemd journal, which then takes severities from the lines;
 * $JOURNAL_STREAM, systemd.exec(5).
 */
export function isJournal(env: Readonly<Record<string, string | undefined>>, fd: number): boolean {
  const stream = env['JOURNAL_STREAM'];
  if (stream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return stream === `${dev}:${ino}`;
  } catch {
    return false; // it is not open
  }
}

function renderJson(now: number, level: LogLevel, message: string, fields: LogFields): string {
  const line = { time: new Date(now).toISOString(), level, msg: message, ...fields };
  return `${escapeUnprintable(JSON.stringify(line))}\n`;
}

function renderText(now: number, level: LogLevel, message: string, fields: LogFields): string {
  let text = `${new Date(now).toISOString()} ${level.toUpperCase().padEnd(5)} ${oneLine(message)}`;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) text += ` ${oneLine(name)}=${quoteWhereNeeded(String(value))}`;
  }
  return `${text}\n`;
}

function quoteWhereNeeded(value: string): string {
  return /^[\w.:/@%+,-]+$/.test(value) ? value : quoted(value);
}

function oneLine(text: string): string {
  return escapeUnprintable(text) === text ? text : quoted(text);
}

function quoted(text: string): string {
  return escapeUnprintable(JSON.stringify(text));
}

/**
 * stderr may be a pipe that nobody reads any more, one that is full for now, or a file on a disk
 * that is full: a line that cannot be written must never stop the daemon.
 */
function writeStderr(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // There is nowhere left to report it to.
  }
}
