/**
 * The last net under the daemon: what an exception that nobody caught does to the process.
 *
 * Node's HTTP/2 checks a stream or a session at the start of each method, before it changes anything,
 * and throws where it has ended. Such an exception says that one client has left and nothing else, so
 * the process goes on. After any other exception its state is unknown: it ends, and is started again.
 */
import type { Log } from '../observe/log.ts';
import { EXIT, type ExitCode } from './command.ts';

/** Thrown by Node's checks of a stream or a session that has ended, or emitted when it ends. */
const ENDED: ReadonlySet<unknown> = new Set([
  'ERR_HTTP2_INVALID_STREAM',
  'ERR_HTTP2_INVALID_SESSION',
  'ERR_HTTP2_HEADERS_SENT',
  'ERR_HTTP2_TRAILERS_ALREADY_SENT',
  'ERR_HTTP2_TRAILERS_NOT_READY',
  'ERR_HTTP2_STREAM_ERROR',
  'ERR_HTTP2_SESSION_ERROR',
  'ERR_HTTP2_ERROR',
]);
/** What threw it: a frame of the stack, as V8 writes one of Node's own modules. */
const NODE_HTTP2 = /^\s+at .*\(?node:internal\/http2\//;
/** Frames have names and positions of our own code, and nothing that a client has sent. */
const MAX_FRAMES = 8;

/** The code of an exception that says no more than that a client has left, or undefined. */
export function endedStreamCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || !ENDED.has(error.code)) return undefined;
  const [first] = framesOf(error);
  return first !== undefined && NODE_HTTP2.test(first) ? String(error.code) : undefined;
}

/** What to do with an exception that nobody caught. */
export function createLastNet(log: Log, exit: (code: ExitCode) => void): (error: unknown) => void {
  return (error) => {
    const code = endedStreamCode(error);
    if (code !== undefined) {
      log.warn?.('an exception about a stream that has ended was not caught', { code });
      return;
    }
    // Without its message, which might hold what was being worked on.
    log.error('stopping at once: an exception was not caught', {
      error: error instanceof Error ? error.name : typeof error,
      code: error instanceof Error && 'code' in error ? String(error.code) : undefined,
      at: error instanceof Error ? framesOf(error).slice(0, MAX_FRAMES).join('; ') : undefined,
    });
    exit(EXIT.failure);
  };
}

/** The frames of its stack, without the message before them, which may look like frames too. */
function framesOf({ stack = '', message }: Error): readonly string[] {
  const frames = stack.slice(stack.indexOf(message) + message.length);
  return frames.split('\n').filter((line) => /^\s+at /.test(line));
}
