/**
 * Logins whose answer is lost after Vault has granted the token, for every kind of reply: how many tokens
 * stay behind while callers go on calling, and how soon calls succeed after the servers answer again.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { jsonOf, PATHS, sealed } from './fake-servers.ts';
import { KINDS, type Kind } from './reply-kinds.ts';
import {
  drive,
  judge,
  type Other,
  otherWire,
  startOnFakeServers,
  URLS,
} from './servers-under-test.ts';

/** What may come after Vault has granted a token: these say nothing of the login. */
const AFTER_THE_LOGIN: readonly string[] = [
  'silence',
  'a connection that is cut',
  'trouble with storage',
  'an upstream limit',
  'a page with 408',
  'a page with 500',
  'a page with 501',
  'a page with 502',
  'a page with 503',
  'a page with 504',
  'a page with 520',
  'a page with 503 and an hour to wait',
  'a login page',
  'an empty 204',
  'an empty 200',
  'other JSON',
  'a list',
  'JSON that is cut',
  'a login without a token',
];
const OF_A_LOGIN: readonly Kind[] = [
  ...KINDS.filter(({ says }) => says === 'server' || says === 'limit'),
  {
    name: 'a login without a token',
    says: 'server',
    seen: 'a Vault Agent with a token of its own',
    wire: jsonOf(200, { auth: { client_token: '', lease_duration: 0, renewable: false } }),
  },
];

/** How long it lasts, and how many tokens one address may keep of it: after 0, 1, 3, 7, 15, 25, ... seconds. */
const LASTS_MS = 30_000;
const MOST_FOR_EACH_ADDRESS = 6;
const CALLERS = 2;
/** kube-apiserver's own. */
const DEADLINE_MS = 3_000;

type Cell = { readonly kind: Kind; readonly other: Other };
const nameOf = ({ kind, other }: Cell): string => `${kind.name}, the other server ${other}`;

function startKeyring() {
  const { servers, provider, clock } = startOnFakeServers({ login: 'login', ttl: 3_600 });
  const keyring = createKeyring({
    writer: provider,
    readers: [provider],
    watchIntervalMs: 30_000,
    clock,
    log: silentLog,
  });
  let calls = 0;
  const call = async (): Promise<string> => {
    const caller = new AbortController();
    const deadline = clock.setTimer(DEADLINE_MS, () => caller.abort());
    calls += 1;
    const ciphertext = sealed(`object ${calls}`);
    const result = await keyring.decrypt({ ciphertext, purpose: 'dek' }, caller.signal);
    deadline.cancel();
    return result.ok ? 'ok' : result.error.message;
  };
  keyring.start();
  return { servers, clock, keyring, call };
}

async function run({ kind, other }: Cell): Promise<readonly string[]> {
  const { servers, clock, keyring, call } = startKeyring();
  const lost = AFTER_THE_LOGIN.includes(kind.name);
  servers.behaviours.set(URLS[0], (asked) => {
    if (asked.path !== PATHS.login) return undefined;
    if (lost) servers.usual(asked);
    return kind.wire;
  });
  servers.behaviours.set(URLS[1], (asked) => {
    if (other === 'also odd' && asked.path !== PATHS.login) return undefined;
    if (other === 'also odd' && lost) servers.usual(asked);
    return otherWire(other, kind.wire);
  });
  const outcomes = new Set<string>();
  const until = clock.now() + LASTS_MS;
  while (clock.now() < until) {
    const calls = Array.from({ length: CALLERS }, call);
    for (const outcome of await drive(clock, Promise.all(calls))) outcomes.add(outcome);
    await clock.advance(250);
  }
  const found: string[] = [];
  const inUse = other === 'well' ? 1 : 0;
  const odd = lost ? (other === 'also odd' ? 2 : 1) : 0;
  const tokens = servers.tokens().length;
  const most = inUse + odd * MOST_FOR_EACH_ADDRESS;
  if (tokens > most) found.push(`${tokens} tokens are left behind, more than ${most}`);
  if (other === 'well' && kind.says === 'server' && kind.wire !== 'hang' && outcomes.size > 1)
    found.push(`the healthy server was of no help: ${[...outcomes].join('\n')}`);

  // The other address first: that one is well is found at once, whatever the first one waits for.
  servers.behaviours.delete(URLS[1]);
  const back = await drive(clock, call());
  const limited = kind.says === 'limit';
  const silent = kind.wire === 'hang' || other === 'hanging';
  if (back !== 'ok' && !silent && !limited && other !== 'also odd')
    found.push(`the other address is well, and a call gets: ${back}`);
  await drive(clock, keyring.stop());
  return found;
}

/** One address alone: how long a call waits after it answers again. */
async function recovery(kind: Kind): Promise<number> {
  const { servers, clock, keyring, call } = startKeyring();
  for (const url of URLS) servers.behaviours.set(url, () => kind.wire);
  const until = clock.now() + LASTS_MS;
  while (clock.now() < until) await drive(clock, call());
  servers.behaviours.clear();
  const since = clock.now();
  while ((await drive(clock, call())) !== 'ok') await clock.advance(50);
  await drive(clock, keyring.stop());
  return clock.now() - since;
}

describe('a login that Vault may have done, and of which no answer came', () => {
  const others: readonly Other[] = ['well', 'refusing', 'hanging', 'also odd'];
  const cells = OF_A_LOGIN.flatMap((kind) => others.map((other): Cell => ({ kind, other })));
  it(`leaves few tokens behind under calls, and holds up no address that is well: ${cells.length} cells`, async () => {
    await judge(cells, nameOf, run);
  });

  it('is waited for; what has certainly left nothing is not', async () => {
    for (const kind of OF_A_LOGIN) {
      // A login that has no answer is under way for 30 s.
      if (kind.wire === 'hang') continue;
      const most = AFTER_THE_LOGIN.includes(kind.name) ? 10_500 : 2_500;
      const took = await recovery(kind);
      assert.ok(took <= most, `${kind.name}: calls succeed after ${took} ms`);
    }
  });
});
