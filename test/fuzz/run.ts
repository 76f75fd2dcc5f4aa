/** Plays scripts against a plugin, and checks after each round that it is as well as before. */
import { createKmsClient } from '../../src/kms/client.ts';
import type { Plugin } from '../servers/plugin.ts';
import type { Grammar, Script } from './grammar.ts';
import { openConnection } from './raw-connection.ts';
import { vitalsOf } from './vitals.ts';

const AT_ONCE = 16;
const ROUNDS_TO_SETTLE = 50;
/** For a good call, on a machine that has others to serve too. */
const ANSWER_MS = 20_000;
const SETTLE_MS = 30_000;
const MORE_DESCRIPTORS = 8;
const MORE_BYTES = 32 * 1024 * 1024;

export type Fuzzed = {
  readonly counts: { connections: number; frames: number; calls: number; stalls: number };
  /** What was wrong, or undefined. */
  readonly find: string | undefined;
};

async function play(socket: string, script: Script): Promise<void> {
  const connection = await openConnection(socket);
  if (!script.reads) connection.stopReading();
  for (const piece of script.pieces) {
    if (connection.isClosed()) return;
    connection.socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (script.end === 'wait') await new Promise((resolve) => setTimeout(resolve, 20));
  if (script.end === 'end') connection.socket.end();
  await new Promise((resolve) => setTimeout(resolve, 1));
  connection.socket.destroy();
  await connection.closed;
}

/** Runs for so many milliseconds, or until something is found. */
export async function fuzz(
  plugin: Plugin,
  grammar: Grammar,
  ms: number,
  say: (line: string) => void,
): Promise<Fuzzed> {
  const counts = { connections: 0, frames: 0, calls: 0, stalls: 0 };
  const until = Date.now() + ms;
  let before = vitalsOf(plugin.process.pid);
  for (let round = 1; Date.now() < until; round += 1) {
    const scripts = Array.from({ length: AT_ONCE }, () => grammar.script());
    const stalls = grammar.below(10) === 0;
    if (stalls) plugin.process.pause();
    const played = Promise.all(scripts.map((script) => play(plugin.socket, script)));
    if (stalls) await new Promise((resolve) => setTimeout(resolve, 30));
    plugin.process.resume();
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
    const client = createKmsClient(plugin.socket, ANSWER_MS);
    const wrong = await client.v2.status().then(
      ({ healthz }) => (healthz === 'ok' ? undefined : healthz),
      (error: unknown) => String(error),
    );
    client.close();
    if (wrong !== undefined) return { counts, find: `a good call after round ${round}: ${wrong}` };
    if (round === ROUNDS_TO_SETTLE) before = vitalsOf(plugin.process.pid);
    if (round % 100 === 0)
      say(JSON.stringify({ round, ...counts, ...vitalsOf(plugin.process.pid) }));
  }
  const settled = Date.now() + SETTLE_MS;
  let now = vitalsOf(plugin.process.pid);
  const grown = (): boolean =>
    now.descriptors > before.descriptors + MORE_DESCRIPTORS ||
    now.resident > before.resident + MORE_BYTES;
  while (grown() && Date.now() < settled) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    now = vitalsOf(plugin.process.pid);
  }
  return {
    counts,
    find: grown()
      ? `it did not return to ${JSON.stringify(before)}: ${JSON.stringify(now)}`
      : undefined,
  };
}
