/**
 * Ends the servers of a test process that died, however it died: a shell holds the other end of a
 * pipe, keeps the list of process ids that were told to it, and kills what is left when the pipe
 * closes.
 */
import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';

const SCRIPT = `trap '' INT TERM HUP
pids=' '
while read -r change pid; do
  case $change in
  +) pids="$pids$pid " ;;
  -) case $pids in *" $pid "*) pids="\${pids%% $pid *} \${pids#* $pid }" ;; esac ;;
  esac
done
for pid in $pids; do kill -KILL "$pid"; done 2>/dev/null`;

let pipe: Writable | undefined;

/** From now on the process dies with this one. */
export function guard(pid: number): void {
  pipe ??= startGuard();
  pipe.write(`+ ${pid}\n`);
}

/** The process has ended by itself; its id may soon be another's. */
export function release(pid: number): void {
  pipe?.write(`- ${pid}\n`);
}

function startGuard(): Writable {
  const shell = spawn('/bin/sh', ['-c', SCRIPT], {
    detached: true, // a signal to the test's process group must not reach it
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  shell.unref();
  // A pipe of a child is a socket in Node; its type does not say so.
  (shell.stdin as Writable & { unref(): void }).unref();
  return shell.stdin;
}
