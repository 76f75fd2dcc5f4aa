/** A provider on two servers without sockets, with its time in a test's hands. */
import assert from 'node:assert/strict';
import { silentLog } from '../../../src/observe/log.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { createLoginMemory } from '../../../src/providers/vault/auth/login-memory.ts';
import { createVaultProvider } from '../../../src/providers/vault/vault-provider.ts';
import { createDrivenClock, type DrivenClock, settle } from '../driven-clock.ts';
import { createFakeServers, errorsOf, type FakeServers, type Wire } from './fake-servers.ts';

/** Most preferred first. */
export const URLS = ['http://10.0.0.1:8200', 'http://10.0.0.2:8200'] as const;

/** What the second server does while the first one is odd. */
export const OTHERS = ['well', 'refusing', 'hanging', 'sealed', 'also odd'] as const;
export type Other = (typeof OTHERS)[number];

export function otherWire(other: Other, kind: Wire): Wire | undefined {
  switch (other) {
    case 'well':
      return undefined;
    case 'refusing':
      return 'refused';
    case 'hanging':
      return 'hang';
    case 'sealed':
      return errorsOf(503, 'Vault is sealed');
    case 'also odd':
      return kind;
  }
}

export type OnFakeServers = {
  readonly servers: FakeServers;
  readonly provider: Provider;
  readonly clock: DrivenClock;
};

/**
 * @param login `lookup` for a token out of a file, `unwrap` for a wrapped secret id; else AppRole
 * @param ttl what a login grants, in seconds
 */
export function startOnFakeServers({
  login,
  ttl,
}: {
  readonly login: string;
  readonly ttl: number;
}): OnFakeServers {
  const clock = createDrivenClock(1_800_000_000_000);
  const servers = createFakeServers(clock.now, ttl);
  const secretIDWrapped = login === 'unwrap';
  const appRole = {
    mount: 'approle',
    roleID: 'a-role-id',
    secretIDFile: '/secret',
    secretIDWrapped,
  };
  const provider = createVaultProvider(
    'vault',
    {
      addresses: URLS,
      mount: 'transit',
      key: 'kubernetes',
      tls: {},
      allowPlainHTTP: true,
      requestTimeout: 2_000,
      hedge: false,
      auth: login === 'lookup' ? { token: { tokenFile: '/secret' } } : { appRole },
    },
    {
      log: silentLog,
      env: {},
      clock,
      readSecret: async () => 'hvs.a-secret',
      logins: createLoginMemory(clock),
      open: servers.open,
    },
  );
  return { servers, provider, clock };
}

const STEP_MS = 250;
const MOST_MS = 120_000;

/** Moves the clock on until the work is done. */
export async function drive<T>(clock: DrivenClock, work: Promise<T>): Promise<T> {
  let done = false;
  void work.then(
    () => {
      done = true;
    },
    () => {
      done = true;
    },
  );
  await settle();
  for (let at = 0; !done; at += STEP_MS) {
    if (at > MOST_MS) throw new Error('it never ends');
    await clock.advance(STEP_MS);
  }
  return await work;
}

/** A signal that nobody aborts. */
export const patient = (): AbortSignal => new AbortController().signal;

/** Cells at a time: they share the turns of the event loop. */
const TOGETHER = 128;
/** One cell alone, by its name. */
const only = process.env['TROUSSEAU_CELL'];

/** Fails with the cells that violate something, by the name that replays them. */
export async function judge<C>(
  cells: readonly C[],
  name: (cell: C) => string,
  check: (cell: C) => Promise<readonly string[]>,
): Promise<void> {
  const chosen = only === undefined ? cells : cells.filter((cell) => name(cell) === only);
  const found: string[] = [];
  for (let at = 0; at < chosen.length; at += TOGETHER) {
    const group = chosen.slice(at, at + TOGETHER);
    await Promise.all(
      group.map(async (cell) => {
        for (const what of await check(cell)) found.push(`${name(cell)}: ${what}`);
      }),
    );
  }
  assert.equal(
    found.length,
    0,
    `${found.length} of ${chosen.length}:\n${found.slice(0, 40).join('\n')}`,
  );
}
