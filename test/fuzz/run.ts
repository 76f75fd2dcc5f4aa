/** Plays scripts against a plugin, and checks after each round that it is as well as before. */
import { createKmsClient } from '../../src/kms/client.ts';
import type { Plugin } from '../servers/plugin.ts';
import { cutEverywhere } from './cuts.ts';
import type { Grammar, Script } from './grammar.ts';
import { openConnection } from './raw-connection.ts';
import { openOf, vitalsOf } from './vitals.ts';

const AT_ONCE = 16;
const ROUNDS_TO_SETTLE = 50;
/** For a good call, on a machine that has others to serve too. */
const ANSWER_MS = 20_000;
const SETTLE_MS = 30_000;
const MORE_DESCRIPTORS = 8;
const MORE_BYTES = 32 * 1024 * 1024;
const TURNS_OF_STALL = 200;

export type Fuzzed = {
  readonly counts: {
    connections: number;
    frames: number;
    calls: number;
    stalls: number;
    cuts: number;
  };
  /** What was wrong, or undefined. */
  readonly find: string | undefined;
};

/** `answered` resolves when a good call has been answered, after all that was written before it. */
async function play(socket: string, script: Script, answered: Promise<unknown>): Promise<void> {
  const connection = await openConnection(socket);
  if (!script.reads) connection.stopReading();
  for (const piece of script.pieces) {
    if (connection.isClosed()) return;
    connection.socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  switch (script.end) {
    case 'destroy':
      break;
    case 'end':
      connection.socket.end();
      // Some are closed for it; where a call has no answer yet, the connection stays.
      await Promise.race([connection.closed, answered]);
      break;
    case 'wait':
      await Promise.race([connection.closed, answered]);
      break;
  }
  connection.socket.destroy();
  await connection.closed;
}

/** What is wrong with the answer of a good call on a connection of its own, or undefined. */
async function statusOf(socket: string): Promise<string | undefined> {
  const client = createKmsClient(socket, ANSWER_MS);
  const wrong = await client.v2.status().then(
    ({ healthz }) => (healthz === 'ok' ? undefined : healthz),
    (error: unknown) => String(error),
  );
  client.close();
  return wrong;
}

/** So many turns of this process' event loop. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Runs for so many milliseconds, or until something is found. */
export async function fuzz(
  plugin: Plugin,
  grammar: Grammar,
  ms: number,
  say: (line: string) => void,
): Promise<Fuzzed> {
  const counts = { connections: 0, frames: 0, calls: 0, stalls: 0, cuts: 0 };
  const until = Date.now() + ms;
  let before = vitalsOf(plugin.process.pid);
  const openBefore = await openOf(plugin.socket);
  for (let round = 1; Date.now() < until; round += 1) {
    const scripts = Array.from({ length: AT_ONCE }, () => grammar.script());
    const stalls = grammar.below(10) === 0;
    if (stalls) plugin.process.pause();
    const good = Promise.withResolvers<void>();
    const played = Promise.all(scripts.map((script) => play(plugin.socket, script, good.promise)));
    // Long enough for some to have written while the process stands still.
    if (stalls) await turns(TURNS_OF_STALL);
    plugin.process.resume();
    const early = await statusOf(plugin.socket);
    good.resolve();
    await played;
    counts.connections += scripts.length;
    counts.stalls += stalls ? 1 : 0;
    for (const { frames, calls } of scripts) {
      counts.frames += frames;
      counts.calls += calls;
    }
    if (!plugin.process.isRunning()) {
      return {
        counts,
        find: `the process ended in round ${round}: ${await plugin.process.exited}`,
      };
    }
    const wrong = early ?? (await statusOf(plugin.socket));
    if (wrong !== undefined) return { counts, find: `a good call after round ${round}: ${wrong}` };
    if (round === ROUNDS_TO_SETTLE) before = vitalsOf(plugin.process.pid);
    if (round % 100 === 0)
      say(JSON.stringify({ round, ...counts, ...vitalsOf(plugin.process.pid) }));
  }
  counts.cuts = await cutEverywhere(plugin.socket);
  const cutBadly = await statusOf(plugin.socket);
  if (cutBadly !== undefined) return { counts, find: `a good call after cuts: ${cutBadly}` };
  const settled = Date.now() + SETTLE_MS;
  let now = vitalsOf(plugin.process.pid);
  let open = await openOf(plugin.socket);
  const grown = (): boolean =>
    open.open > openBefore.open ||
    open.sessions > openBefore.sessions ||
    open.calls > openBefore.calls ||
    now.descriptors > before.descriptors + MORE_DESCRIPTORS ||
    now.resident > before.resident + MORE_BYTES;
  while (grown() && Date.now() < settled) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    now = vitalsOf(plugin.process.pid);
    open = await openOf(plugin.socket);
  }
  return {
    counts,
    find: grown()
      ? `it did not return to ${JSON.stringify({ ...before, ...openBefore })}: ${JSON.stringify({ ...now, ...open })}`
      : undefined,
  };
}
