/**
 * Runs a test file in a network and with mounts of its own. Its machines share that network, so that
 * servers of the tests listen on the machines' loopback, and nobody reaches anything else; what is
 * mounted is gone with the last process, however it ends.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Routed nowhere, but known to the network's loopback: RFC 5737. */
export const ELSEWHERE = '198.51.100.7';

const INSIDE = 'TROUSSEAU_TEST_NAMESPACES';

/** Control groups of version 2 even where the machine uses version 1, since IPAddressDeny= needs them. */
const ENTER = `set -e
ip link set lo up
ip address add ${ELSEWHERE}/32 dev lo
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount --recursive /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
exec "$@"`;

/**
 * False in the process that was started, when all tests have run in a second one; true in that one,
 * which then declares them. `prepare` runs before, where there still is a network.
 */
export async function inOwnNamespaces(file: string, prepare: () => void): Promise<boolean> {
  if (process.env[INSIDE] === file) return true;
  prepare();
  const unshare = ['unshare', '--mount', '--net', '/bin/sh', '-c', ENTER, 'sh'];
  const node = [process.execPath, ...process.execArgv, file];
  const child = spawn('setpriv', ['--pdeathsig=TERM', '--', ...unshare, ...node], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, [INSIDE]: file },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  process.exitCode = code ?? 1;
  return false;
}
