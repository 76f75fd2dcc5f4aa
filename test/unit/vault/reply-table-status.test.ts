/**
 * What Status says against what calls get, for every kind of reply and state of the other server: who
 * watches Status must not see health while every call fails, nor trouble while every call succeeds.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { PATHS, sealed, tampered } from './fake-servers.ts';
import { KINDS, type Kind } from './reply-kinds.ts';
import {
  drive,
  judge,
  type Other,
  otherWire,
  startOnFakeServers,
  URLS,
} from './servers-under-test.ts';

const WHERE = ['the whole mount', 'decrypting alone'] as const;
type Cell = {
  readonly kind: Kind;
  readonly other: Other;
  readonly where: (typeof WHERE)[number];
};

/** To Status one that refuses and one that is sealed are what an odd one is. */
const OF_ALL: readonly Other[] = ['well', 'hanging', 'also odd'];
/** Shorter than the time-out of a request: those who leave are seen too. */
const DEADLINE_MS = 1_500;
const CALLS = 5;
/** So many calls in a row of one kind are what a caller would call the state of things. */
const LAST = 3;

/** Calls while the first server is odd, and what came of the last of them. */
async function run({ kind, other, where }: Cell): Promise<readonly string[]> {
  const { servers, provider, clock } = startOnFakeServers({ login: 'login', ttl: 3_600 });
  const keyring = createKeyring({
    writer: provider,
    readers: [provider],
    watchIntervalMs: 30_000,
    clock,
    log: silentLog,
  });
  const call = async (ciphertext: Uint8Array): Promise<string> => {
    const caller = new AbortController();
    const deadline = clock.setTimer(DEADLINE_MS, () => caller.abort());
    const decrypted = keyring.decrypt({ ciphertext, purpose: 'dek' }, caller.signal);
    const result = await drive(clock, decrypted);
    deadline.cancel();
    return result.ok ? 'ok' : result.error.kind;
  };
  keyring.start();
  assert.equal(await call(sealed('first')), 'ok');
  const odd = (path: string): boolean =>
    path === PATHS.decrypt || (where === 'the whole mount' && path.startsWith('transit/'));
  servers.behaviours.set(URLS[0], ({ path }) => (odd(path) ? kind.wire : undefined));
  servers.behaviours.set(URLS[1], ({ path }) =>
    other === 'also odd' && !odd(path) ? undefined : otherWire(other, kind.wire),
  );
  const outcomes: string[] = [];
  for (let i = 0; i < CALLS; i += 1) {
    outcomes.push(await call(sealed(`object ${i}`)));
    // One damaged object, asked for now and then, changes nothing for the others.
    if (i === 0) await call(tampered());
    await clock.advance(200);
  }
  const found: string[] = [];
  const last = outcomes.slice(-LAST);
  const state = keyring.state().kind;
  const said = `calls got ${outcomes.join(', ')}, Status says ${state}`;
  if (last.every((outcome) => outcome === 'ok') && state !== 'ready') found.push(said);
  const allFail = last.every((outcome) => outcome !== 'ok') && kind.says !== 'item';
  if (allFail && state === 'ready') found.push(said);
  const mayPass = kind.says === 'server' || kind.says === 'limit';
  if (mayPass && state === 'refused') found.push(said);
  if (!mayPass && state === 'outage') found.push(said);
  if (kind.says === 'server' && other === 'well' && outcomes.some((outcome) => outcome !== 'ok'))
    found.push(said);

  servers.behaviours.clear();
  if (mayPass) {
    const back: string[] = [];
    for (let i = 0; i < 3; i += 1) back.push(await call(sealed(`after ${i}`)));
    await clock.advance(2_000);
    const now = keyring.state().kind;
    if (back.at(-1) !== 'ok' || now !== 'ready')
      found.push(`all servers are well, calls get ${back.join(', ')}, Status says ${now}`);
  }
  await drive(clock, keyring.stop());
  return found;
}

describe('Status and calls say the same', () => {
  for (const where of WHERE) {
    const cells = KINDS.flatMap((kind) => OF_ALL.map((other): Cell => ({ kind, other, where })));
    const name = ({ kind, other }: Cell): string =>
      `${kind.name} for ${where}, the other server ${other}`;
    it(`where one server is odd for ${where}: ${cells.length} cells`, async () => {
      await judge(cells, name, run);
    });
  }
});
