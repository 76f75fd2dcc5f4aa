/** The end of the process. */
import { setTimeout as sleep } from 'node:timers/promises';

/** What runs on a thread of libuv: file operations, and name look-ups by the system's resolver. */
const ON_A_THREAD = ['FSReqPromise', 'FSReqCallback', 'GetAddrInfoReqWrap'];
const GRACE_MS = 500;
const POLL_MS = 20;

/**
 * Ends the process with this code. Node waits for its threads when it exits, and one that reads from
 * a file system which does not answer never ends. Such a process ends itself by SIGKILL, as the
 * service manager would do much later.
 */
export async function exitProcess(code: number): Promise<never> {
  for (let waited = 0; threadsWork() && waited < GRACE_MS; waited += POLL_MS) await sleep(POLL_MS);
  if (threadsWork()) process.kill(process.pid, 'SIGKILL');
  process.exit(code);
}

function threadsWork(): boolean {
  return process.getActiveResourcesInfo().some((resource) => ON_A_THREAD.includes(resource));
}
