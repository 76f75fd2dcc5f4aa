/**
 * `make soak`: dist/trousseau on a real Vault under a mixed load for minutes, with rotations and
 * restarts. Prints a line a sample, and fails where memory, files or delays grow, or an answer is
 * wrong.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Clock, sleep, systemClock } from '../../src/system/clock.ts';
import { anonymousMiB } from '../bench/subject.ts';
import { askAdmin } from '../daemon/program.ts';
import type { Plugin } from '../servers/plugin.ts';
import { startSealableVault } from '../servers/vault.ts';
import { prepareTransit, startWithToken } from '../vault/vault-under-test.ts';
import { type Calls, createCalls } from './calls.ts';
import { runEvents } from './events.ts';
import { callOnce, hangUp } from './short-client.ts';
import { createTally, type Tally } from './tally.ts';
import { type Limits, megabytes, memorySlope, type Sample, thirds, verdict } from './verdict.ts';

const USAGE = `usage: main.ts [--minutes N] [--rate N] [--restarts N] [--every SECONDS]
               [--max-files N] [--max-status-ms N]

Drives dist/trousseau with so many calls a second (500) for so many minutes (10), samples it every so
many seconds (5), and restarts Vault so many times (2). Ends with 1 where something grows or is wrong.
`;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    rate: { type: 'string', default: '500' },
    restarts: { type: 'string', default: '2' },
    every: { type: 'string', default: '5' },
    'max-files': { type: 'string', default: '100' },
    'max-status-ms': { type: 'string', default: '100' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const [minutes, rate, restarts, every, maxFiles, maxStatusMs] = [
  ...[values.minutes, values.rate, values.restarts, values.every],
  ...[values['max-files'], values['max-status-ms']],
].map(Number) as [number, number, number, number, number, number];
const numbers = [minutes, rate, every, maxFiles, maxStatusMs];
if (values.help || !numbers.every((n) => n > 0) || !Number.isInteger(restarts) || restarts < 0) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 2);
}

const MIB = 1 << 20;
const LIMITS: Limits = {
  bytesPer100kCalls: 1e6,
  openFiles: maxFiles,
  statusP99Ms: maxStatusMs,
};
/** Calls leave in bursts, as those of a list do. */
const TICK_MS = 100;
const MOST_IN_FLIGHT = 256;
const TICKS_PER_SHORT_CLIENT = 5;
const CACHED = 500;

const folder = mkdtempSync(join(tmpdir(), 'trousseau-soak-'));
const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort());
try {
  process.exitCode = (await soak(systemClock, interrupt.signal)) ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** The whole run; true where it was good. */
async function soak(clock: Clock, interrupted: AbortSignal): Promise<boolean> {
  await using vault = await startSealableVault({ release: 'newest', dir: folder });
  await prepareTransit(vault.admin);
  const settings = {
    log: { level: 'warn', format: 'json' },
    // Full within seconds: what it needs is memory that the daemon keeps, not growth.
    decryptCache: { maxEntries: CACHED },
  };
  const period = { period: '1h' };
  await using plugin = await startWithToken(
    vault.admin,
    vault.address,
    folder,
    period,
    {},
    settings,
  );
  await plugin.ready();
  const tally = createTally();
  const calls = createCalls(plugin.client, tally);
  const totalMs = minutes * 60_000;
  const end = new AbortController();
  const signal = AbortSignal.any([interrupted, end.signal]);
  const common = { vault, plugin, calls, tally, clock, say, signal };
  const events = runEvents({ ...common, totalMs, restarts });
  const driven = drive(plugin.socket, calls, tally, clock, signal);
  const samples = await sampleAll(plugin, tally, clock, totalMs, signal);
  end.abort();
  await Promise.all([driven, events]);
  const versions = await calls.decryptEveryVersion();
  const ended = await endOf(plugin);
  const reasons = [
    ...(interrupted.aborted ? ['it was interrupted'] : []),
    ...(ended === 'code 0' ? [] : [`the daemon ended with ${ended}`]),
    ...[...tally.counts().sentences].map(([sentence, times]) => `${times} x ${sentence}`),
    ...verdict(samples, LIMITS),
  ];
  summarise(samples, tally, versions);
  for (const reason of reasons) say(`FAILED: ${reason}`);
  if (reasons.length === 0) say('good');
  return reasons.length === 0;
}

async function endOf(plugin: Plugin): Promise<string> {
  if (!plugin.process.isRunning()) return `${await plugin.process.exited} before its time`;
  await plugin.stop();
  return await plugin.process.exited;
}

/** An open loop: calls leave when it is time, whether or not earlier ones were answered. */
async function drive(
  socket: string,
  calls: Calls,
  tally: Tally,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  const begin = (call: Promise<void>): void => {
    underWay.add(call);
    void call.finally(() => underWay.delete(call));
  };
  const began = clock.now();
  let made = 0;
  for (let tick = 1; !signal.aborted; tick += 1) {
    const due = Math.round((tick * rate * TICK_MS) / 1000);
    for (; made < due; made += 1) if (underWay.size < MOST_IN_FLIGHT) begin(calls.make(made));
    const sealed = calls.any(tick);
    if (sealed !== undefined && tick % TICKS_PER_SHORT_CLIENT === 0) {
      begin(tally.run('short client', () => callOnce(socket, sealed)));
      begin(tally.run('client that hangs up', () => hangUp(socket, tick)));
    }
    // Anywhere between two bursts: it is the delay of the event loop that is looked for.
    const end = began + tick * TICK_MS;
    await sleep(clock, Math.max(0, end - clock.now()) * clock.random(), signal);
    begin(calls.probe());
    await sleep(clock, Math.max(0, end - clock.now()), signal);
  }
  await Promise.all(underWay);
}

async function sampleAll(
  plugin: Plugin,
  tally: Tally,
  clock: Clock,
  totalMs: number,
  signal: AbortSignal,
): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  const began = clock.now();
  for (let at = every * 1000; at <= totalMs; at += every * 1000) {
    const elapsed = await sleep(clock, Math.max(0, began + at - clock.now()), signal);
    if (!elapsed || !plugin.process.isRunning()) break;
    const { status, inFlight } = tally.sinceLast();
    const sample: Sample = {
      seconds: (clock.now() - began) / 1000,
      calls: tally.counts().calls,
      anonymousBytes: anonymousMiB(plugin.process.pid) * MIB,
      openFiles: readdirSync(`/proc/${plugin.process.pid}/fd`).length,
      queued: await queuedIn(plugin),
      statusP50Ms: status.percentile(50),
      statusP99Ms: status.percentile(99),
      inFlight,
    };
    samples.push(sample);
    say(lineOf(sample, tally));
  }
  return samples;
}

async function queuedIn({ socket }: Plugin): Promise<number> {
  const admin = join(dirname(socket), 'admin.sock');
  return Number((await askAdmin(admin, '/readyz')).body['queued']);
}

function lineOf(sample: Sample, tally: Tally): string {
  const { seconds, calls, anonymousBytes, openFiles, queued } = sample;
  const { statusP50Ms, statusP99Ms, inFlight } = sample;
  const { excused, wrong } = tally.counts();
  return [
    `${seconds.toFixed(0).padStart(4)} s`,
    `${calls} calls`,
    `${megabytes(anonymousBytes)} MB`,
    `${openFiles} files`,
    `Status p50 ${statusP50Ms?.toFixed(1) ?? '-'} p99 ${statusP99Ms?.toFixed(1) ?? '-'} ms`,
    `in flight ${inFlight}`,
    `queued ${queued}`,
    `${excused} failed in outages`,
    `${wrong} wrong`,
  ].join('  ');
}

function summarise(samples: readonly Sample[], tally: Tally, versions: number): void {
  const { calls, excused, wrong } = tally.counts();
  const slope = memorySlope(samples);
  const { first, last } = thirds(samples, ({ statusP99Ms }) => statusP99Ms);
  const ofAll = (figure: (sample: Sample) => number): number => Math.max(0, ...samples.map(figure));
  say(`
calls                 ${calls}, ${excused} of them failed while Vault was away, ${wrong} wrong
versions of the key   ${versions}, every one decrypted at the end
memory                ${slope === undefined ? '-' : megabytes(slope)} MB per 100,000 calls over the second half, at most ${megabytes(ofAll((s) => s.anonymousBytes))} MB
open files            at most ${ofAll((s) => s.openFiles)}
queued                at most ${ofAll((s) => s.queued)} when it was looked at
p99 of Status         ${first?.toFixed(1) ?? '-'} ms in the first third, ${last?.toFixed(1) ?? '-'} ms in the last
`);
}
