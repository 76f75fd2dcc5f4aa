/**
 * What somebody who has taken the plugin over would try next, from inside the unit's sandbox and, to
 * see that it is the sandbox that stops it, as the same user in a unit without one. Perl is in every
 * Debian, and can make any system call.
 */
import { constants } from 'node:os';
import { journal, SERVICE, writeInside } from './installation.ts';
import type { Shell } from './nspawn.ts';
import { ELSEWHERE } from './own-namespaces.ts';

type CallNumber = { readonly x64: number; readonly arm64: number };

export type Attempt = {
  readonly name: string;
  /** Perl that is true where it worked; otherwise errno says why not. */
  readonly perl: string;
};

const CALLS: Readonly<Record<string, CallNumber>> = {
  add_key: { x64: 248, arm64: 217 },
  bpf: { x64: 321, arm64: 280 },
  clock_settime: { x64: 227, arm64: 112 },
  init_module: { x64: 175, arm64: 105 },
  io_uring_setup: { x64: 425, arm64: 425 },
  memfd_create: { x64: 319, arm64: 279 },
  mount: { x64: 165, arm64: 40 },
  personality: { x64: 135, arm64: 92 },
  ptrace: { x64: 101, arm64: 117 },
  sethostname: { x64: 170, arm64: 161 },
  unshare: { x64: 272, arm64: 97 },
};

function call(name: keyof typeof CALLS, ...args: readonly string[]): string {
  const number = CALLS[name]?.[process.arch === 'arm64' ? 'arm64' : 'x64'];
  return `syscall(${[number, ...args].join(', ')}) >= 0`;
}

const write = (path: string): string => `open(my $f, '>', '${path}')`;
const read = (path: string): string => `open(my $f, '<', '${path}')`;
/** syscall() wants a buffer that it may change. */
const text = (value: string): string => `copy('${value}')`;
const run = (path: string): string => `exec_ok('${path}')`;

/** Files that everybody on the machine may read, made before the attempts. */
const PLANTED = ['/home/member.txt', '/tmp/planted.txt', '/var/tmp/planted.txt'] as const;
/** One like /dev/zero, made before the attempts: rights of other devices depend on the host's udev. */
const DEVICE = '/dev/planted';

export const ATTEMPTS: readonly Attempt[] = [
  { name: 'write to /etc', perl: write('/etc/planted') },
  { name: 'write to its configuration', perl: write('/etc/trousseau/x') },
  { name: 'read /var/tmp of all', perl: read(PLANTED[2]) },
  { name: "read another user's home", perl: read(PLANTED[0]) },
  { name: 'read /tmp of all', perl: read(PLANTED[1]) },
  { name: 'read /etc/shadow', perl: read('/etc/shadow') },
  { name: "see other users' processes", perl: `opendir(my $d, '/proc/1')` },
  { name: 'read /proc/meminfo', perl: read('/proc/meminfo') },
  { name: 'change a kernel setting', perl: write('/proc/sys/vm/swappiness') },
  { name: 'open a device', perl: read(DEVICE) },
  { name: 'run another program', perl: run('/usr/bin/id') },
  ...['/var/lib/trousseau', '/run/trousseau', '/tmp', '/var/tmp', '/dev/shm'].map((folder) => ({
    name: `run what it wrote to ${folder}`,
    perl: `dropped('${folder}/dropped') && ${run(`${folder}/dropped`)}`,
  })),
  {
    name: 'make a file set-uid',
    perl: `dropped('/var/lib/trousseau/suid') && chmod(04755, '/var/lib/trousseau/suid')`,
  },
  { name: 'open a raw socket', perl: 'socket(my $s, 2, 3, 1)' },
  { name: 'open a packet socket', perl: 'socket(my $s, 17, 3, 0)' },
  { name: 'open a netlink socket', perl: 'socket(my $s, 16, 3, 0)' },
  { name: 'trace a process', perl: call('ptrace', '0', '0', '0', '0') },
  { name: 'load a kernel module', perl: call('init_module', '0', '0', '0') },
  { name: 'load a BPF program', perl: call('bpf', '5', '0', '0') },
  { name: 'make a user namespace', perl: call('unshare', '0x10000000') },
  {
    name: 'mount a file system',
    perl: call('mount', text('none'), text('/tmp'), text('tmpfs'), '0', '0'),
  },
  { name: 'change the host name', perl: call('sethostname', text('x'), '1') },
  {
    name: 'set the clock',
    perl: call('clock_settime', '0', 'copy(pack("qq", 1, 0))'),
  },
  { name: 'turn off address randomness', perl: call('personality', '0x40000') },
  {
    name: 'use a kernel keyring',
    perl: call('add_key', text('user'), text('x'), text('y'), '1', '-2'),
  },
  {
    name: 'set up io_uring',
    perl: call('io_uring_setup', '1', 'copy("\\0" x 120)'),
  },
  { name: 'make a file in memory', perl: call('memfd_create', text('x'), '0') },
  {
    // A datagram, which is refused at once: what TCP sends is dropped until the caller gives up.
    name: 'connect elsewhere',
    perl: `sent(pack('S n C4 x8', 2, 9, ${ELSEWHERE.split('.').join(', ')}))`,
  },
];

const SCRIPT_PATH = '/opt/attempts.pl';
const UNIT_FOLDER = '/etc/systemd/system';

/** Each in a process of its own, since some change the process that makes them. */
const SCRIPT = `use strict; $| = 1;
sub copy { my $s = shift; return $s }
sub exec_ok { my $p = shift; my $r = system { $p } $p; return $r == 0 }
sub sent {
  my ($to, $s) = @_;
  socket($s, 2, 2, 0) && connect($s, $to) && send($s, 'x', 0);
}
sub dropped {
  my $p = shift;
  my $f;
  open($f, '>', $p) && print({$f} "#!/usr/bin/perl\\nexit 0\\n") && close($f) && chmod(0755, $p);
}
${ATTEMPTS.map(
  ({ perl }, i) =>
    `if (!fork) { $! = 0; my $ok = (${perl}); print "attempt ${i} ", ($ok ? 'ok' : $! + 0), "\\n"; exit } wait;`,
).join('\n')}
`;

/** The name of an error, or `worked`. */
export type Outcome = { readonly inside: string; readonly outside: string };

/** Makes all attempts, by their names, in the sandbox of trousseau.service and without one. */
export async function makeAttempts(machine: Shell): Promise<ReadonlyMap<string, Outcome>> {
  for (const path of PLANTED) await writeInside(machine, path, 'planted', 0o644);
  await machine.must(['mknod', '-m', '0666', DEVICE, 'c', '1', '5']);
  await writeInside(machine, SCRIPT_PATH, SCRIPT, 0o644);
  const unit = await machine.must(['cat', `/usr/lib/systemd/system/${SERVICE}`]);
  const plain = unit.match(/^(User|Group|\w+Directory\w*)=.*$/gm) ?? [];
  const outsideText = `[Service]\n${plain.join('\n')}\nType=oneshot\nExecStart=/usr/bin/perl ${SCRIPT_PATH}\n`;
  await writeInside(machine, `${UNIT_FOLDER}/inside.service`, sandboxed(unit, SCRIPT_PATH), 0o644);
  await writeInside(machine, `${UNIT_FOLDER}/outside.service`, outsideText, 0o644);
  await machine.must(['systemctl', 'daemon-reload']);
  const inside = await outcomesIn(machine, 'inside');
  const outside = await outcomesIn(machine, 'outside');
  return new Map(
    ATTEMPTS.map(({ name }, i) => [
      name,
      { inside: made(inside, name, i), outside: made(outside, name, i) },
    ]),
  );
}

/** trousseau.service with all that holds it, but running a Perl script, once. */
export function sandboxed(unit: string, script: string): string {
  const start = `Type=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\nExecStart=/usr/bin/perl ${script}\nExecPaths=/usr/bin/perl\n`;
  return unit.replace(/^\[Install\][\s\S]*/m, `[Service]\n${start}`);
}

function made(outcomes: ReadonlyMap<number, string>, name: string, index: number): string {
  const outcome = outcomes.get(index);
  if (outcome === undefined) throw new Error(`the attempt to ${name} was not made`);
  return outcome;
}

async function outcomesIn(machine: Shell, unit: string): Promise<ReadonlyMap<number, string>> {
  await machine.must(['systemctl', 'start', `${unit}.service`]);
  const lines = await journal(machine, `${unit}.service`);
  return new Map(
    lines.flatMap((line) => {
      const [, index, outcome] = /^attempt (\d+) (\w+)$/.exec(line) ?? [];
      return outcome === undefined ? [] : [[Number(index), nameOf(outcome)] as const];
    }),
  );
}

function nameOf(outcome: string): string {
  if (outcome === 'ok') return 'worked';
  const named = Object.entries(constants.errno).find(([, errno]) => String(errno) === outcome);
  return named?.[0] ?? outcome;
}
