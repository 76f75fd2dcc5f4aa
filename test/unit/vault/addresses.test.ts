import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../../src/observe/log.ts';
import { fail, type Result, succeed } from '../../../src/providers/errors.ts';
import { createAddresses } from '../../../src/providers/vault/addresses.ts';
import type { Target, TlsMaterial } from '../../../src/providers/vault/dispatcher.ts';
import type { VaultReply, VaultRequest } from '../../../src/providers/vault/reply.ts';
import { createRetryBudget } from '../../../src/providers/vault/retry-budget.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';

const DECRYPT: VaultRequest = {
  method: 'POST',
  path: 'd',
  body: '',
  what: 'decrypting',
  hedge: true,
};
const ENCRYPT: VaultRequest = { method: 'POST', path: 'e', body: '', what: 'encrypting' };

type Answer = Result<VaultReply> | 'hang';

const status = (code: number, ...errors: string[]): Answer =>
  succeed({ status: code, body: { errors }, retryAfter: undefined });
const OK = status(200);
const UNREACHABLE: Answer = fail('unavailable', 'cannot reach it: ECONNREFUSED');

const patient = (): AbortSignal => new AbortController().signal;

/** Servers a, b and c whose answers the test gives; OK unless told otherwise. */
function underTest(more: { hedge?: boolean; names?: () => readonly Target[] } = {}) {
  const clock = createDrivenClock(1_000_000);
  const answers = new Map<string, Answer>();
  const asked: string[] = [];
  const closed: string[] = [];
  let material: TlsMaterial = { ca: 'first' };
  const targets = ['a', 'b', 'c'].map((url): Target => ({ url, ip: undefined }));
  const addresses = createAddresses({
    resolve: async () => more.names?.() ?? targets,
    readTls: async () => succeed(material),
    connect: ({ url, ip }, tls) => {
      const name = ip ?? url;
      return {
        async request(request, limitMs, signal) {
          asked.push(`${name} ${request.path}`);
          const answer = answers.get(`${name} ${request.path}`) ?? answers.get(name) ?? OK;
          if (answer !== 'hang') return answer;
          return await new Promise((resolve) => {
            const end = (): void => {
              timer.cancel();
              resolve(fail('unavailable', `no answer with ${tls.ca}`));
            };
            const timer = clock.setTimer(limitMs, end);
            signal.addEventListener('abort', end, { once: true });
          });
        },
        close: async () => void closed.push(`${name} with ${tls.ca}`),
      };
    },
    requestTimeoutMs: 2_000,
    hedge: more.hedge ?? false,
    budget: createRetryBudget(),
    clock,
    log: silentLog,
  });
  return {
    addresses,
    clock,
    answers,
    asked,
    closed,
    setTls(next: TlsMaterial) {
      material = next;
    },
  };
}

describe('several servers', () => {
  const elsewhere: readonly (readonly [string, Answer])[] = [
    ['cannot be reached', UNREACHABLE],
    ['is sealed', status(503, 'Vault is sealed')],
    [
      'is a standby without an active node',
      status(500, 'local node not active but active cluster node not found'),
    ],
    ['is a standby that only redirects', status(307)],
    ['is a disaster recovery secondary', status(472)],
    ['is a performance standby that is behind', status(412, 'required index state not present')],
    [
      'has a load balancer before it that knows no server',
      succeed({ status: 404, body: {}, retryAfter: undefined }),
    ],
  ];
  for (const [what, answer] of elsewhere) {
    it(`the second is asked at once where the first ${what}, and first from then on`, async () => {
      const { addresses, answers, asked } = underTest();
      answers.set('a', answer);
      assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
      assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
      assert.deepEqual(asked, ['a e', 'b e', 'b e']);
    });
  }

  for (const answer of [
    status(403, 'permission denied'),
    status(400, 'no'),
    status(429, 'quota'),
  ]) {
    it(`an answer that is final is not asked for again: ${JSON.stringify(answer)}`, async () => {
      const { addresses, answers, asked } = underTest();
      answers.set('a', answer);
      assert.deepEqual(await addresses.request(ENCRYPT, patient()), answer);
      assert.deepEqual(asked, ['a e']);
    });
  }

  it('one that hangs costs a second, and what comes next does not ask it', async () => {
    const { addresses, answers, asked, clock } = underTest();
    answers.set('a', 'hang');
    const answered = addresses.request(ENCRYPT, patient());
    await clock.advance(1_000);
    assert.deepEqual(await answered, OK);
    await addresses.request(ENCRYPT, patient());
    assert.deepEqual(asked, ['a e', 'b e', 'b e']);
  });

  it('what works once is not sent twice where nobody knows whether it arrived', async () => {
    const { addresses, answers, asked } = underTest();
    answers.set('a', UNREACHABLE);
    const outcome = await addresses.request({ ...ENCRYPT, once: true }, patient());
    assert.deepEqual(outcome, UNREACHABLE);
    assert.deepEqual(asked, ['a e']);
  });

  it('all of them are tried where none works, and the last failure is told', async () => {
    const { addresses, answers, asked } = underTest();
    for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), UNREACHABLE);
    assert.deepEqual(asked, ['a e', 'b e', 'c e']);
    answers.clear();
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK, 'and again at once');
  });

  it('retries end where there are more of them than a fifth of the requests', async () => {
    const { addresses, answers, asked } = underTest();
    for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
    for (let i = 0; i < 200; i += 1) await addresses.request(ENCRYPT, patient());
    assert.ok(asked.length < 200 + 20 + 200 * 0.2 + 1, `${asked.length} for 200`);
  });
});

describe('the preferred server', () => {
  it('is gone back to after it was healthy at two looks in a row, a minute apart', async () => {
    const { addresses, answers, asked, clock } = underTest();
    answers.set('a', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    answers.clear();
    await clock.advance(60_000);
    await addresses.request(ENCRYPT, patient());
    await clock.advance(60_000);
    await addresses.request(ENCRYPT, patient());
    assert.deepEqual(asked, ['a e', 'b e', 'a sys/health', 'b e', 'a sys/health', 'a e']);
    await clock.advance(300_000);
    assert.equal(asked.length, 6, 'and nobody looks any more');
    assert.equal(clock.pending, 0);
  });

  it('is not gone back to while it comes and goes', async () => {
    const { addresses, answers, asked, clock } = underTest();
    answers.set('a', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    for (let i = 0; i < 6; i += 1) {
      if (i % 2 === 0) answers.delete('a');
      else answers.set('a', status(503));
      await clock.advance(60_000);
    }
    await addresses.request(ENCRYPT, patient());
    assert.equal(asked.at(-1), 'b e');
  });

  it('costs no look that outlives the provider', async () => {
    const { addresses, answers, clock } = underTest();
    answers.set('a', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    await addresses.close();
    assert.equal(clock.pending, 0);
  });
});

describe('a decrypt that is slower than nearly all before it', () => {
  async function warm(hedge: boolean): Promise<ReturnType<typeof underTest>> {
    const test = underTest({ hedge });
    for (let i = 0; i < 25; i += 1) await test.addresses.request(DECRYPT, patient());
    test.asked.length = 0;
    test.answers.set('a', 'hang');
    return test;
  }

  it('is asked of a second server too, whose answer counts', async () => {
    const { addresses, asked, clock } = await warm(true);
    const answered = addresses.request(DECRYPT, patient());
    await clock.advance(20);
    assert.deepEqual(await answered, OK);
    assert.deepEqual(asked, ['a d', 'b d']);
    assert.equal(clock.pending, 0);
  });

  it('shows in the end that the first hangs, which is then asked no more', async () => {
    const { addresses, asked, clock } = await warm(true);
    for (let i = 0; i < 3; i += 1) {
      const answered = addresses.request(DECRYPT, patient());
      await clock.advance(20);
      assert.deepEqual(await answered, OK);
    }
    asked.length = 0;
    assert.deepEqual(await addresses.request(DECRYPT, patient()), OK);
    assert.deepEqual(asked, ['b d']);
  });

  it('waits for the first where hedging is off, and an encrypt always does', async () => {
    for (const [hedge, request] of [
      [false, DECRYPT],
      [true, ENCRYPT],
    ] as const) {
      const { addresses, asked, clock } = await warm(hedge);
      const answered = addresses.request(request, patient());
      await clock.advance(900);
      assert.equal(asked.length, 1);
      await clock.advance(100);
      assert.deepEqual(await answered, OK);
    }
  });

  it('takes the first answer where the second fails', async () => {
    const { addresses, answers, clock } = await warm(true);
    answers.set('b', UNREACHABLE);
    answers.set('c', UNREACHABLE);
    const caller = new AbortController();
    const answered = addresses.request(DECRYPT, caller.signal);
    await clock.advance(50);
    caller.abort();
    assert.equal((await answered).ok, false);
  });
});

describe('what changes while it runs', () => {
  it('other TLS files make new connections, and the old ones are closed', async () => {
    const { addresses, asked, closed, setTls } = underTest();
    await addresses.request(ENCRYPT, patient());
    setTls({ ca: 'second' });
    await addresses.refresh();
    assert.deepEqual(closed, ['a with first', 'b with first', 'c with first']);
    await addresses.request(ENCRYPT, patient());
    assert.deepEqual(asked, ['a e', 'a e']);
  });

  it('they are read again by themselves when servers fail', async () => {
    const { addresses, answers, closed, setTls } = underTest();
    await addresses.request(ENCRYPT, patient());
    setTls({ ca: 'second' });
    for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    await settle();
    assert.equal(closed.length, 3);
  });

  it('a name that has other addresses now is followed when one of them fails', async () => {
    let ips = ['10.0.0.1', '10.0.0.2'];
    const names = () => ips.map((ip): Target => ({ url: 'vault', ip }));
    const { addresses, answers, asked, closed } = underTest({ names });
    await addresses.request(ENCRYPT, patient());
    ips = ['10.0.0.2', '10.0.0.3'];
    answers.set('10.0.0.1', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    await settle();
    await addresses.request(ENCRYPT, patient());
    assert.deepEqual(asked, ['10.0.0.1 e', '10.0.0.1 e', '10.0.0.2 e', '10.0.0.2 e']);
    assert.deepEqual(closed, ['10.0.0.1 with first']);
  });
});
