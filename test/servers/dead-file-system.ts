/**
 * A file system that does not answer, as NFS whose server is gone: a FUSE mount of which nobody
 * reads the requests. Whoever opens a file in it sleeps in the kernel, and only SIGKILL ends that.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startServer } from './process.ts';

const START_MS = 5_000;
const MOUNT = `exec 7<>/dev/fuse
mount -i -t fuse -o fd=7,rootmode=40000,user_id=0,group_id=0 dead "$1"
exec sleep 600`;

export type DeadFileSystem = AsyncDisposable & {
  /** Everything below it hangs. */
  readonly path: string;
};

/** Mounts it in a folder of the test. The end of its process ends all that hangs, with an error. */
export async function mountDeadFileSystem(dir: string): Promise<DeadFileSystem> {
  const path = join(dir, 'dead');
  mkdirSync(path);
  const running = await startServer(
    {
      program: 'bash',
      args: ['-e', '-c', MOUNT, 'bash', path],
      logFile: join(dir, 'dead-file-system.log'),
    },
    START_MS,
    async () => readFileSync('/proc/mounts', 'utf8').includes(` ${path} `),
  );
  return {
    path,
    async [Symbol.asyncDispose]() {
      await running.kill();
      await promisify(execFile)('umount', ['-l', path]);
    },
  };
}
