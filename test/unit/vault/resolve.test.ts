import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Target } from '../../../src/providers/vault/dispatcher.ts';
import { type Lookup, systemLookup } from '../../../src/providers/vault/names.ts';
import { type Resolution, resolveTargets } from '../../../src/providers/vault/resolve.ts';
import { createDrivenClock } from '../driven-clock.ts';

const clock = createDrivenClock();
const VAULT = 'https://vault.example:8200';
const OTHER = 'https://other.example:8200';
const plain = (url: string): Target => ({ url, ip: undefined });
const pinned = (url: string, ...ips: string[]): Target[] => ips.map((ip) => ({ url, ip }));

/** DNS that knows these names, and has no answer for others. */
const names =
  (known: Readonly<Record<string, readonly string[]>>): Lookup =>
  async (hostname) => {
    const ips = known[hostname];
    if (ips === undefined) throw new Error(`ENOTFOUND ${hostname}`);
    return ips;
  };

type Given = {
  readonly urls?: readonly string[];
  readonly lookup: Lookup;
  readonly held?: readonly Target[];
  readonly proxy?: string;
  readonly env?: Readonly<Record<string, string>>;
};

const resolved = ({ urls = [VAULT], lookup, held = [], proxy, env = {} }: Given) =>
  resolveTargets({ urls, proxy, env, lookup, clock }, held);

describe('the servers of the addresses in the configuration', () => {
  const known: readonly (readonly [string, Given, Resolution['targets']])[] = [
    [
      'a name with one address',
      { lookup: names({ 'vault.example': ['10.0.0.1'] }) },
      [plain(VAULT)],
    ],
    [
      'a name with one address, said twice',
      { lookup: names({ 'vault.example': ['10.0.0.1', '10.0.0.1'] }) },
      [plain(VAULT)],
    ],
    [
      'a name with several, of both families',
      { lookup: names({ 'vault.example': ['10.0.0.2', 'fd00::1', '10.0.0.2'] }) },
      pinned(VAULT, '10.0.0.2', 'fd00::1'),
    ],
    [
      'several names, in their order',
      {
        urls: [OTHER, VAULT],
        lookup: names({ 'vault.example': ['10.0.0.1', '10.0.0.2'], 'other.example': ['10.0.0.3'] }),
      },
      [plain(OTHER), ...pinned(VAULT, '10.0.0.1', '10.0.0.2')],
    ],
    [
      'addresses, which are not looked up',
      { urls: ['https://10.0.0.1:8200', 'https://[fd00::1]:8200'], lookup: names({}) },
      [plain('https://10.0.0.1:8200'), plain('https://[fd00::1]:8200')],
    ],
    [
      'a name behind a proxy, which looks it up itself',
      { lookup: names({}), proxy: 'http://proxy.example:3128' },
      [plain(VAULT)],
    ],
    [
      "a name behind the environment's proxy",
      { lookup: names({}), env: { HTTPS_PROXY: 'http://proxy.example:3128' } },
      [plain(VAULT)],
    ],
  ];
  for (const [what, given, targets] of known) {
    it(`are all of them: ${what}`, async () => {
      assert.deepEqual(await resolved(given), { targets, complete: true });
    });
  }
});

describe('a name that cannot be looked up', () => {
  const held = pinned(VAULT, '10.0.0.1', '10.0.0.2');
  const silence: Lookup = () => new Promise(() => undefined);
  for (const [what, lookup] of [
    ['DNS has no answer', names({})],
    ['DNS answers that there is no address', names({ 'vault.example': [] })],
  ] as const) {
    it(`is one server for now, which says what is wrong: ${what}`, async () => {
      assert.deepEqual(await resolved({ lookup }), { targets: [plain(VAULT)], complete: false });
    });

    it(`keeps the servers that it has: ${what}`, async () => {
      const targets = [...held, ...pinned(OTHER, '10.0.0.9')];
      assert.deepEqual(await resolved({ lookup, held: targets }), {
        targets: held,
        complete: false,
      });
    });
  }

  it('within two seconds keeps the servers that it has', async () => {
    const outcome = resolved({ lookup: silence, held });
    await clock.advance(1_999);
    const early = await Promise.race([outcome, Promise.resolve('not yet')]);
    assert.equal(early, 'not yet');
    await clock.advance(1);
    assert.deepEqual(await outcome, { targets: held, complete: false });
    assert.equal(clock.pending, 0);
  });

  it('keeps nobody from following the other names', async () => {
    const lookup = names({ 'other.example': ['10.0.0.5', '10.0.0.6'] });
    const before = [...pinned(OTHER, '10.0.0.3', '10.0.0.4'), ...held];
    assert.deepEqual(await resolved({ urls: [OTHER, VAULT], lookup, held: before }), {
      targets: [...pinned(OTHER, '10.0.0.5', '10.0.0.6'), ...held],
      complete: false,
    });
  });
});

describe("the system's lookup", () => {
  it('knows what is in /etc/hosts', async () => {
    const ips = await systemLookup('localhost');
    assert.ok(
      ips.some((ip) => ip === '127.0.0.1' || ip === '::1'),
      ips.join(),
    );
  });

  it('rejects what cannot be a name', async () => {
    await assert.rejects(systemLookup(`${'a'.repeat(64)}.invalid`), { code: 'ENOTFOUND' });
  });
});
