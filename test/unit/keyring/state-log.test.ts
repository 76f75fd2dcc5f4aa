import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { announce, type KeyringState, nextState, type Seen } from '../../../src/keyring/state.ts';
import { createStateLog } from '../../../src/keyring/state-log.ts';
import { createLog } from '../../../src/observe/log.ts';
import { fail, type ProviderErrorKind, succeed } from '../../../src/providers/errors.ts';
import { createDrivenClock } from '../driven-clock.ts';

const key = (version: number, minDecryptionVersion = 1): Seen =>
  succeed(
    announce({
      path: ['fake', 'key'],
      versions: [{ version, createdAt: version }],
      current: { version, createdAt: version },
      minDecryptionVersion,
      facts: { type: 'aes256-gcm', deletable: false, exportable: false },
    }),
  );
const why = (kind: ProviderErrorKind, message: string): Seen => fail(kind, message);
const QUOTA = why('throttled', 'decrypting: Vault answered 429');

type Line = Readonly<Record<string, unknown>>;

/** A keyring's state and its log; `see` is one look, whose next one begins `nextMs` later. */
function underTest() {
  const clock = createDrivenClock(1_800_000_000_000);
  const lines: Line[] = [];
  const write = (line: string): void => void lines.push(JSON.parse(line) as Line);
  const stateLog = createStateLog(createLog({ level: 'info', format: 'json', write }), clock);
  let state: KeyringState = { kind: 'starting', since: clock.now(), why: undefined };
  const see = async (seen: Seen, nextMs = 1_000): Promise<void> => {
    const before = state;
    state = nextState(before, seen, clock.now());
    stateLog.changed(before, state);
    stateLog.scheduled(state, seen.ok ? 0 : 1, nextMs);
    await clock.advance(nextMs);
  };
  return { lines, see, told: () => lines.map(({ msg }) => msg) };
}

/** A quota that is spent and filled again every second, for so many minutes. */
async function flap(see: (seen: Seen) => Promise<void>, minutes: number): Promise<void> {
  for (let i = 0; i < minutes * 30; i += 1) {
    await see(QUOTA);
    await see(key(1));
  }
}

describe('what the log says of a state that does not stay', () => {
  it('is one outage at once, and its end', async () => {
    const { see, told } = underTest();
    for (const seen of [key(1), QUOTA, QUOTA, key(1)]) await see(seen);
    assert.deepEqual(told(), ['key announced', 'provider unavailable', 'key announced']);
  });

  it('is a few lines and then a count of outages and seconds, not two lines a second', async () => {
    const { see, lines, told } = underTest();
    await see(key(1));
    await flap(see, 30);
    for (let i = 0; i < 20; i += 1) await see(key(1), 30_000);
    assert.ok(lines.length <= 1 + 30 * 2, `${lines.length} lines`);
    assert.equal(told().at(-1), 'provider was unavailable now and then');
    const counted = lines.filter(({ outages }) => outages !== undefined);
    const one = told().filter((msg) => msg === 'provider unavailable').length;
    const sum = (name: string): number =>
      counted.reduce((total, line) => total + Number(line[name]), 0);
    assert.equal(sum('outages') + one, 30 * 30, 'every outage is told or counted');
    assert.equal(sum('seconds'), sum('outages'));
    assert.match(String(counted[0]?.['why']), /429/);
  });

  const WHILE_IT_FLAPS: readonly (readonly [string, readonly Seen[], string])[] = [
    ['an outage that lasts', Array.from({ length: 12 }, () => QUOTA), 'provider unavailable'],
    ['a refusal', [why('denied', 'the policy')], 'provider refuses'],
    ['another version of the key', [key(2)], 'key announced'],
    [
      'another version of the key after an outage that was not told',
      [QUOTA, key(2)],
      'key announced',
    ],
    [
      'a version that is missing',
      Array.from({ length: 12 }, () => why('behind', 'version 1 is not there')),
      'provider unavailable',
    ],
  ];
  for (const [name, seen, expected] of WHILE_IT_FLAPS) {
    it(`says ${name} all the same`, async () => {
      const { see, told } = underTest();
      await see(key(1));
      await flap(see, 2);
      const before = told().length;
      for (const each of seen) await see(each);
      assert.ok(told().slice(before).includes(expected), told().slice(before).join());
    });
  }

  it('says once that the minimum was raised, where no call has failed yet', async () => {
    const { see, lines } = underTest();
    for (const seen of [key(3, 2), key(3, 2), QUOTA, key(3, 3), key(3, 3), key(3, 1), key(3, 1)])
      await see(seen);
    const said = lines.filter(({ msg }) => msg === 'earlier versions ruled out');
    assert.deepEqual(
      said.map(({ level, minDecryptionVersion }) => [level, minDecryptionVersion]),
      [['warn', 3]],
    );
  });

  it('says the end of every outage that it has told', async () => {
    const { see, told } = underTest();
    await see(key(1));
    await flap(see, 2);
    for (let i = 0; i < 12; i += 1) await see(QUOTA);
    await see(key(1));
    assert.equal(told().at(-1), 'key announced');
  });

  it('does not repeat reasons that take turns while the provider is not reached', async () => {
    const { see, lines } = underTest();
    for (let i = 0; i < 120; i += 1)
      await see(why('unavailable', i % 2 === 0 ? 'logging in: 504' : 'cannot reach it'));
    assert.ok(lines.length <= 5, `${lines.length} lines`);
  });

  it('says a reason that has come to stay', async () => {
    const { see, lines } = underTest();
    for (const reason of 'abcdefgh') await see(why('unavailable', `reason ${reason}`));
    for (let i = 0; i < 12; i += 1) await see(why('unavailable', 'the last reason'));
    assert.match(String(lines.at(-1)?.['why']), /the last reason/);
  });
});
