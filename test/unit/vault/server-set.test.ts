import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fail, succeed } from '../../../src/providers/errors.ts';
import type { Target } from '../../../src/providers/vault/dispatcher.ts';
import type { Resolution } from '../../../src/providers/vault/resolve.ts';
import { settle } from '../driven-clock.ts';
import { addressesUnderTest, ENCRYPT, OK, patient, UNREACHABLE } from './addresses-under-test.ts';

const URL = 'vault';
const pinned = (...ips: string[]): Target[] => ips.map((ip) => ({ url: URL, ip }));
const BY_NAME: Target = { url: URL, ip: undefined };

/** A name whose addresses change, and DNS that is away from time to time. */
function named() {
  const dns = { ips: ['10.0.0.1', '10.0.0.2'], away: false, lookups: 0 };
  const resolve = (held: readonly Target[]): Resolution => {
    dns.lookups += 1;
    if (!dns.away) return { targets: pinned(...dns.ips), complete: true };
    return { targets: held.length === 0 ? [BY_NAME] : held, complete: false };
  };
  return { ...addressesUnderTest({ resolve }), dns };
}

describe('TLS files', () => {
  it('that are other ones make new connections, and the old ones are closed', async () => {
    const test = addressesUnderTest();
    const { addresses, asked, closed } = test;
    await addresses.request(ENCRYPT, patient());
    test.tls = async () => succeed({ ca: 'second' });
    await addresses.refresh();
    assert.deepEqual(closed, ['a with first', 'b with first', 'c with first']);
    await addresses.request(ENCRYPT, patient());
    assert.deepEqual(asked, ['a e', 'a e']);
  });

  it('that name no authorities make new connections where those of the machine are other ones', async () => {
    const test = addressesUnderTest();
    const { addresses, closed } = test;
    test.tls = async () => succeed({ machine: 'first' });
    await addresses.request(ENCRYPT, patient());
    await addresses.refresh();
    // They could not be read in time.
    test.tls = async () => succeed({});
    await addresses.refresh();
    assert.deepEqual(closed, []);
    test.tls = async () => succeed({ machine: 'second' });
    await addresses.refresh();
    assert.equal(closed.length, 3);
  });

  it('are read again by themselves when servers fail', async () => {
    const test = addressesUnderTest();
    const { addresses, answers, closed } = test;
    await addresses.request(ENCRYPT, patient());
    test.tls = async () => succeed({ ca: 'second' });
    for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    await settle();
    assert.equal(closed.length, 3);
  });

  it('that cannot be read change nothing, but nothing begins without them', async () => {
    const test = addressesUnderTest();
    const { addresses, asked, closed } = test;
    const missing = fail('unavailable', 'reading the TLS files: ENOENT');
    test.tls = async () => missing;
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), missing);
    assert.deepEqual(asked, []);
    test.tls = async () => succeed({ ca: 'first' });
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
    test.tls = async () => missing;
    assert.equal((await addresses.refresh()).ok, true);
    assert.deepEqual(closed, []);
  });

  it('whose reading hangs hold nobody up for longer than two seconds, and are not read twice', async () => {
    const test = addressesUnderTest();
    const { addresses, asked, clock } = test;
    let reads = 0;
    test.tls = () => {
      reads += 1;
      return new Promise(() => undefined);
    };
    const waiting = [addresses.request(ENCRYPT, patient()), addresses.refresh()];
    await clock.advance(2_000);
    for (const outcome of await Promise.all(waiting))
      assert.equal(!outcome.ok && outcome.error.kind, 'unavailable');
    assert.deepEqual([reads, asked.length, clock.pending], [1, 0, 0]);
  });

  it('whose reading hangs later leave those in use that there are', async () => {
    const test = addressesUnderTest();
    const { addresses, clock, closed } = test;
    await addresses.request(ENCRYPT, patient());
    test.tls = () => new Promise(() => undefined);
    const refreshed = addresses.refresh();
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
    await clock.advance(2_000);
    assert.equal((await refreshed).ok, true);
    assert.deepEqual(closed, []);
  });
});

describe('the addresses of a name', () => {
  it('are followed when one of them fails', async () => {
    const { addresses, answers, asked, closed, dns } = named();
    await addresses.request(ENCRYPT, patient());
    dns.ips = ['10.0.0.2', '10.0.0.3'];
    answers.set('10.0.0.1', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    await settle();
    await addresses.request(ENCRYPT, patient());
    assert.deepEqual(asked, ['10.0.0.1 e', '10.0.0.1 e', '10.0.0.2 e', '10.0.0.2 e']);
    assert.deepEqual(closed, ['10.0.0.1 with first']);
  });

  it('stay where one of them fails while DNS is away', async () => {
    const { addresses, answers, asked, closed, dns } = named();
    await addresses.request(ENCRYPT, patient());
    dns.away = true;
    answers.set('10.0.0.1', UNREACHABLE);
    for (let i = 0; i < 3; i += 1) {
      assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
      await settle();
    }
    assert.deepEqual(asked.slice(1), ['10.0.0.1 e', '10.0.0.2 e', '10.0.0.2 e', '10.0.0.2 e']);
    assert.deepEqual(closed, []);
  });

  it('are found within a minute where DNS was away at the start, though all goes well without', async () => {
    const { addresses, answers, asked, closed, clock, dns } = named();
    dns.away = true;
    for (let second = 0; second < 30; second += 1) {
      await addresses.request(ENCRYPT, patient());
      await clock.advance(1_000);
    }
    assert.deepEqual(new Set(asked), new Set(['vault e']));
    dns.away = false;
    for (let second = 30; second < 62; second += 1) {
      await addresses.request(ENCRYPT, patient());
      await clock.advance(1_000);
    }
    assert.equal(asked.at(-1), '10.0.0.1 e');
    assert.deepEqual(closed, ['vault with first']);
    answers.set('10.0.0.1', UNREACHABLE);
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
    assert.equal(asked.at(-1), '10.0.0.2 e');
  });

  it('are looked up once a minute at most while DNS is away, and not at all while all is well', async () => {
    const { addresses, clock, dns } = named();
    const minutes = async (count: number): Promise<number> => {
      const before = dns.lookups;
      for (let second = 0; second < count * 60; second += 1) {
        await addresses.request(ENCRYPT, patient());
        await clock.advance(1_000);
      }
      return dns.lookups - before;
    };
    assert.equal(await minutes(10), 1);
    assert.equal(clock.pending, 0, 'by no timer');
    const other = named();
    other.dns.away = true;
    for (let second = 0; second < 600; second += 1) {
      await other.addresses.request(ENCRYPT, patient());
      await other.clock.advance(1_000);
    }
    assert.equal(other.dns.lookups, 10);
  });
});

describe('the end', () => {
  it('closes all connections, and nothing is opened afterwards', async () => {
    const { addresses, answers, asked, closed, dns } = named();
    answers.set('10.0.0.1', 'hang');
    const answered = addresses.request(ENCRYPT, AbortSignal.abort());
    await answered;
    await addresses.close();
    assert.deepEqual(closed, ['10.0.0.1 with first', '10.0.0.2 with first']);
    dns.ips = ['10.0.0.9'];
    assert.equal((await addresses.request(ENCRYPT, patient())).ok, false);
    await settle();
    assert.deepEqual(asked, ['10.0.0.1 e']);
  });
});
