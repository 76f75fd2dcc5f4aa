/**
 * The whole product of what one server replies, to which operation, in which state the other server
 * is, for which batch. No cell is written out: each is judged by what must always hold. A cell that
 * fails is printed as it is called; `TROUSSEAU_CELL='<name>'` runs that one alone.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ProviderErrorKind, Result } from '../../../src/providers/errors.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { DECRYPTING, type FakeServers, PATHS, sealed, tampered } from './fake-servers.ts';
import { KINDS, type Kind } from './reply-kinds.ts';
import {
  drive,
  judge,
  OTHERS,
  type Other,
  otherWire,
  patient,
  startOnFakeServers,
  URLS,
} from './servers-under-test.ts';

const OPERATIONS = Object.keys(PATHS) as (keyof typeof PATHS)[];
type Operation = (typeof OPERATIONS)[number];
const BATCHES = ['good', 'bad', 'mixed'] as const;
type Batch = (typeof BATCHES)[number];

type Cell = {
  readonly operation: Operation;
  readonly kind: Kind;
  readonly other: Other;
  readonly batch: Batch;
};
type Outcome = {
  readonly results: readonly Result<unknown>[];
  readonly servers: FakeServers;
  /** When the odd replies began. */
  readonly since: number;
  readonly tookMs: number;
  /** Whether all is well soon after the servers are. */
  readonly recovered: boolean;
  readonly tokensLeft: number;
};

/** Index by index: whether an item is damaged. */
const ITEMS: Readonly<Record<Batch, readonly boolean[]>> = {
  good: [false],
  bad: [true],
  mixed: [false, true, false],
};

const nameOf = ({ operation, kind, other, batch }: Cell): string =>
  `${operation} of a ${batch} batch, ${kind.name}, the other server ${other}`;

/** What is done in a cell while the first server is odd. */
async function perform(operation: Operation, batch: Batch, provider: Provider) {
  switch (operation) {
    case 'describe':
      return [await provider.describe(patient())];
    case 'encrypt':
      return await provider.encrypt([Buffer.from('text 0')], 1, patient());
    case 'revoke':
      await provider.stop();
      return [];
    default:
      return await provider.decrypt(
        ITEMS[batch].map((bad, i) => (bad ? tampered() : sealed(`text ${i}`))),
        patient(),
      );
  }
}

/** What happens before the first operation of a session is odd from the start. */
const AT_FIRST: readonly Operation[] = ['login', 'unwrap', 'lookup'];

async function run({ operation, kind, other, batch }: Cell): Promise<Outcome> {
  const ttl = operation === 'renew' ? 90 : 3_600;
  const { servers, provider, clock } = startOnFakeServers({ login: operation, ttl });
  if (!AT_FIRST.includes(operation))
    await drive(clock, provider.decrypt([sealed('before')], patient()));
  servers.behaviours.set(URLS[0], ({ path }) =>
    path === PATHS[operation] ? kind.wire : undefined,
  );
  servers.behaviours.set(URLS[1], ({ path }) =>
    other === 'also odd' && path !== PATHS[operation] ? undefined : otherWire(other, kind.wire),
  );
  servers.answered.clear();
  if (operation === 'renew') await clock.advance(59_999);
  const since = clock.now();
  if (operation === 'renew') await clock.advance(40_000);
  const results = await drive(clock, perform(operation, batch, provider));
  const tookMs = clock.now() - since;
  const answered = new Set(servers.answered);
  servers.behaviours.clear();
  let recovered = operation === 'revoke';
  for (let i = 0; i < 12 && !recovered; i += 1) {
    const again = await drive(clock, provider.decrypt([sealed('after')], patient()));
    recovered = again[0]?.ok === true;
    if (!recovered) await clock.advance(250);
  }
  await drive(clock, provider.stop());
  return {
    results,
    servers: { ...servers, answered },
    since,
    tookMs,
    recovered,
    tokensLeft: servers.tokens().length,
  };
}

const MAY_PASS: readonly ProviderErrorKind[] = ['unavailable', 'throttled'];
/** What Vault may have done already is not asked of another server, and an empty 204 is Vault's own form. */
function excused(operation: Operation, { wire }: Kind): boolean {
  if (operation === 'revoke' || operation === 'renew')
    return typeof wire !== 'string' && wire.status === 204;
  if (operation !== 'unwrap') return false;
  if (typeof wire === 'string') return wire !== 'refused';
  if (wire.text.includes('"errors":')) return false;
  return wire.status < 300 || wire.status === 408 || wire.status >= 500;
}

/** A login, and what works once, has a time of its own. */
const SLOW: readonly Operation[] = ['login', 'unwrap', 'lookup', 'renew', 'revoke'];

/** Every sentence is one that does not hold. */
function* violations(cell: Cell, outcome: Outcome): Generator<string> {
  const { operation, kind, other, batch } = cell;
  const { results, servers, since, tookMs } = outcome;
  const items = operation === 'decrypt' ? ITEMS[batch] : ITEMS.good;
  for (const [i, result] of results.entries()) {
    const bad = items[i] === true;
    const plaintext = Buffer.from(`text ${i}`).toString('base64');
    if (!bad && !result.ok && servers.answered.has(plaintext))
      yield `item ${i} was answered, and its caller got: ${result.error.message}`;
    if (result.ok && bad) yield `item ${i} is damaged, and was decrypted`;
    if (result.ok) continue;
    const { kind: why, message } = result.error;
    const aboutItem = bad && why === 'invalid';
    if (kind.says === 'server' && !MAY_PASS.includes(why) && !aboutItem)
      yield `a server's trouble is reported as ${why}: ${message}`;
    if (kind.says !== 'server' && kind.says !== 'limit' && MAY_PASS.includes(why))
      yield `what Vault refuses is reported as ${why}: ${message}`;
    if (kind.says === 'limit' && why !== 'throttled') yield `a limit is ${why}: ${message}`;
    if (why === 'internal') yield `internal: ${message}`;
  }
  const neighbours = results.filter((_result, i) => items[i] === false).map(({ ok }) => ok);
  if (new Set(neighbours).size > 1) yield 'neighbours of one batch fare differently';
  const helped = kind.says === 'server' && other === 'well' && !excused(operation, kind);
  if (helped && results.some(({ ok }, i) => !ok && items[i] !== true))
    yield `the healthy server was of no help: ${JSON.stringify(results)}`;
  if (helped) {
    const first = servers.asked.find(
      ({ url, path, at }) => url === URLS[1] && path === PATHS[operation] && at >= since,
    );
    const most = SLOW.includes(operation) ? 10_000 : 1_000;
    if (first === undefined || first.at - since > most)
      yield `the healthy server was asked after ${first && first.at - since} ms`;
  }
  if (tookMs > (SLOW.includes(operation) ? 60_000 : 15_000)) yield `it took ${tookMs} ms`;
  if (!outcome.recovered && (kind.says === 'server' || kind.says === 'limit'))
    yield 'it does not work again three seconds after the servers do';
  if (outcome.tokensLeft > 0 && (operation !== 'revoke' || helped))
    yield `${outcome.tokensLeft} tokens are left behind`;
}

function cellsOf(operation: Operation): readonly Cell[] {
  const batches = operation === 'decrypt' ? BATCHES : (['good'] as const);
  return KINDS.flatMap((kind) =>
    OTHERS.flatMap((other) => batches.map((batch) => ({ operation, kind, other, batch }))),
  );
}

describe('whatever one server replies, the other does and the batch holds', () => {
  for (const operation of OPERATIONS) {
    const cells = cellsOf(operation);
    it(`${operation}: ${cells.length} cells`, async () => {
      await judge(cells, nameOf, async (cell) => [...violations(cell, await run(cell))]);
    });
  }
});

describe('an answer of any Vault reaches each caller, whatever the other server is', () => {
  type Answer = { readonly vault: string; readonly other: Other; readonly batch: Batch };
  const cells = Object.keys(DECRYPTING).flatMap((vault) =>
    OTHERS.flatMap((other) => BATCHES.map((batch): Answer => ({ vault, other, batch }))),
  );
  const name = ({ vault, other, batch }: Answer): string =>
    `a ${batch} batch, ${vault}, the other server ${other}`;

  it(`${cells.length} cells`, async () => {
    await judge(cells, name, async ({ vault, other, batch }) => {
      const { servers, provider, clock } = startOnFakeServers({ login: 'login', ttl: 3_600 });
      await drive(clock, provider.decrypt([sealed('before')], patient()));
      const answers = DECRYPTING[vault];
      assert.ok(answers);
      servers.behaviours.set(URLS[0], (asked) =>
        asked.path === PATHS.decrypt ? answers(asked) : undefined,
      );
      servers.behaviours.set(URLS[1], () => otherWire(other, 'refused'));
      const found: string[] = [];
      for (let i = 0; i < 30; i += 1) {
        const results = await drive(clock, perform('decrypt', batch, provider));
        const expected = ITEMS[batch].map((bad) => (bad ? 'invalid' : 'ok'));
        const got = results.map((result) => (result.ok ? 'ok' : result.error.kind));
        if (got.join() !== expected.join()) found.push(`call ${i}: ${got.join()}`);
      }
      if (servers.asked.some(({ url }) => url === URLS[1])) found.push('the other one was asked');
      await drive(clock, provider.stop());
      return found;
    });
  });
});
