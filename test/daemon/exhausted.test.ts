import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { environment, watch } from '../servers/process.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { localProviders, PROGRAM, writeConfig } from './program.ts';

const SCRIPT = join(import.meta.dirname, 'exhausted.ts');

type Pulse = {
  readonly kind: string;
  readonly why?: string;
  /** Lines that it had logged before, and those of all. */
  readonly quiet: number;
  readonly lines: readonly string[];
};

/** What the proof says of a process that may have 64 descriptors, and uses them all. */
function pulseWith(spare: number): Pulse {
  const argv = ['-c', 'ulimit -n 64; exec "$0" "$1" "$2"', process.execPath, SCRIPT, String(spare)];
  return JSON.parse(execFileSync('/bin/sh', argv, { encoding: 'utf8' }));
}

describe('the proof of a process that has reached LimitNOFILE=', () => {
  it('succeeds with the descriptors that are held in reserve for it', () => {
    assert.equal(pulseWith(8).kind, 'alive');
  });

  it('is a connection with one of the last descriptors, of which the log says what to do', () => {
    const { quiet, lines } = pulseWith(8);
    assert.equal(quiet, 0);
    assert.match(lines.join('\n'), /nearly every file descriptor is in use.*raise LimitNOFILE=/);
  });

  it('proves nothing without one, so that a process that serves is not killed', () => {
    const { kind, why } = pulseWith(0);
    assert.equal(kind, 'unknown');
    assert.match(why ?? '', /no file descriptor is free: raise LimitNOFILE=/);
  });
});

const FED_MS = 20_000;
/** Far more than there are descriptors, and fewer than connections may wait to be accepted. */
const CLIENTS = 120;
const DESCRIPTORS = 64;
/** Without those in reserve. */
const MOST_IN_USE = DESCRIPTORS - 8;

it('a daemon that has reached LimitNOFILE= by silent connections goes on feeding the watchdog', async (t) => {
  const dir = temporaryFolder(t);
  const config = writeConfig(dir, { providers: await localProviders(dir) });
  const [log, notified] = [join(dir, 'log'), join(dir, 'notified')];
  const [err, notify] = [openSync(log, 'a'), openSync(notified, 'a')];
  // As systemd's OpenFile=/run/systemd/notify:notify, with a file in place of its socket.
  const script = `ulimit -n ${DESCRIPTORS}; LISTEN_PID=$$ exec "$0" serve --config "$1"`;
  const watchdog = { LISTEN_FDS: '1', LISTEN_FDNAMES: 'notify', WATCHDOG_USEC: '1000000' };
  const child = spawn('/bin/sh', ['-c', script, PROGRAM, config], {
    env: environment(watchdog),
    stdio: ['ignore', err, err, notify],
  });
  for (const fd of [err, notify]) closeSync(fd);
  await using running = watch(child, log);
  const fed = (): number => readFileSync(notified, 'utf8').split('WATCHDOG=1').length - 1;
  await waitUntil('the first feeding', FED_MS, () => fed() > 0);
  const clients = Array.from({ length: CLIENTS }, () => connect(join(dir, 'kms.sock')));
  t.after(() => {
    for (const client of clients) client.destroy();
  });
  for (const client of clients) client.on('error', () => client.destroy());
  await waitUntil('nearly every descriptor is in use', FED_MS, () => {
    return readdirSync(`/proc/${running.pid}/fd`).length >= MOST_IN_USE;
  });
  const before = fed();
  await waitUntil('three more feedings', FED_MS, () => fed() >= before + 3);
  assert.doesNotMatch(readFileSync(log, 'utf8'), /a restart follows.*EMFILE/);
  assert.ok(running.isRunning());
});
