/**
 * Log lines on stderr, one a call, as JSON (for machines) or as `key=value` text (for people).
 *
 * A level that is off is `undefined`, so that `log.debug?.('...', {...})` builds nothing where
 * nobody reads. Plaintexts, ciphertexts and tokens are never passed in: there is no type for them.
 */
import { writeSync } from 'node:fs';

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
};

/** A log that drops what is below its level. */
export function createLog(options: LogOptions, inherited: LogFields = {}): Log {
  const write = options.write ?? ((line: string) => writeStderr(line));
  const now = options.now ?? Date.now;
  const render = options.format === 'json' ? renderJson : renderText;
  const threshold = LOG_LEVELS.indexOf(options.level);
  const line =
    (level: LogLevel): LogLine =>
    (message, fields) =>
      write(render(now(), level, message, { ...inherited, ...fields }));
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

function renderJson(now: number, level: LogLevel, message: string, fields: LogFields): string {
  return `${JSON.stringify({ time: new Date(now).toISOString(), level, msg: message, ...fields })}\n`;
}

function renderText(now: number, level: LogLevel, message: string, fields: LogFields): string {
  let text = `${new Date(now).toISOString()} ${level.toUpperCase().padEnd(5)} ${oneLine(message)}`;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) text += ` ${name}=${quoteWhereNeeded(String(value))}`;
  }
  return `${text}\n`;
}

function quoteWhereNeeded(value: string): string {
  return /^[\w.:/@%+,-]+$/.test(value) ? value : JSON.stringify(value);
}

function oneLine(text: string): string {
  return /[\r\n]/.test(text) ? JSON.stringify(text) : text;
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
