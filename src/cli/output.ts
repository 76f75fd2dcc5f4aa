/** What a command prints, and whether all of it arrived. */
import type { Writable } from 'node:stream';
import { EXIT, type ExitCode, type Invocation } from './command.ts';

export type Output = Pick<Invocation, 'out' | 'err'> & {
  /** Waits until everything is written; the exit code is a failure where that was not possible. */
  end(code: ExitCode): Promise<ExitCode>;
};

/** The reader has had enough, as `head` has: that is no news to anybody. */
const READER_LEFT = 'EPIPE';

/** Prints to these streams, which nobody else writes to. */
export function writeOutput(stdout: Writable, stderr: Writable): Output {
  let failure: NodeJS.ErrnoException | undefined;
  stdout.on('error', (error) => {
    failure ??= error;
  });
  // There is nowhere left to report it to.
  stderr.on('error', () => undefined);
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    async end(code) {
      await flushed(stdout);
      if (failure !== undefined && failure.code !== READER_LEFT)
        stderr.write(`write error: ${describe(failure)}\n`);
      await flushed(stderr);
      return failure === undefined || code !== EXIT.ok ? code : EXIT.failure;
    },
  };
}

function flushed(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) return resolve();
    stream.write('', () => resolve());
  });
}

/** Node's message is `ENOSPC: no space left on device, write`. */
function describe({ code, message }: NodeJS.ErrnoException): string {
  return /^[A-Z0-9]+: (.+), write$/.exec(message)?.[1] ?? code ?? message;
}
