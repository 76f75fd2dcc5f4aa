/** Servers a, b and c whose answers the test gives, with time in its hands. */
import { silentLog } from '../../../src/observe/log.ts';
import { fail, type Result, succeed } from '../../../src/providers/errors.ts';
import { type Addresses, createAddresses } from '../../../src/providers/vault/addresses.ts';
import type { Target, TlsMaterial } from '../../../src/providers/vault/dispatcher.ts';
import type { VaultReply, VaultRequest } from '../../../src/providers/vault/reply.ts';
import type { Resolution } from '../../../src/providers/vault/resolve.ts';
import { createRetryBudget } from '../../../src/providers/vault/retry-budget.ts';
import { createDrivenClock, type DrivenClock } from '../driven-clock.ts';
import { replyOf } from './reply-of.ts';

export const DECRYPT: VaultRequest = {
  method: 'POST',
  path: 'd',
  body: '',
  what: 'decrypting',
  holds: 'nothing',
  hedge: true,
};
export const ENCRYPT: VaultRequest = {
  method: 'POST',
  path: 'e',
  body: '',
  what: 'encrypting',
  holds: 'nothing',
};

/** At once, never, or OK after a while. */
export type Answer = Result<VaultReply> | 'hang' | { readonly afterMs: number };

export const reply = (
  status: number,
  errors: readonly string[] = [],
  retryAfter?: string,
): Result<VaultReply> =>
  replyOf(
    ENCRYPT,
    status,
    { errors },
    retryAfter === undefined ? {} : { 'retry-after': retryAfter },
  );

/** Good for every request that is made here, also for sys/health. */
export const OK = replyOf(ENCRYPT, 200, { request_id: 'x', sealed: false });
export const UNREACHABLE = fail('unavailable', 'cannot reach it: ECONNREFUSED');

/** A signal that nobody aborts. */
export const patient = (): AbortSignal => new AbortController().signal;

export type AddressesUnderTest = {
  readonly addresses: Addresses;
  readonly clock: DrivenClock;
  /** By `name path` or `name`; OK where there is none. */
  readonly answers: Map<string, Answer>;
  readonly asked: string[];
  readonly closed: string[];
  /** The TLS files as they are read from now on. */
  tls: () => Promise<Result<TlsMaterial>>;
};

export type More = {
  readonly hedge?: boolean;
  readonly requestTimeoutMs?: number;
  readonly servers?: readonly string[];
  readonly resolve?: (held: readonly Target[]) => Resolution;
};

export function addressesUnderTest(more: More = {}): AddressesUnderTest {
  const clock = createDrivenClock(1_000_000);
  const answers = new Map<string, Answer>();
  const asked: string[] = [];
  const closed: string[] = [];
  const servers = more.servers ?? ['a', 'b', 'c'];
  const targets = servers.map((url): Target => ({ url, ip: undefined }));
  const addresses = createAddresses({
    resolve: async (held) => more.resolve?.(held) ?? { targets, complete: true },
    readTls: () => under.tls(),
    connect: ({ url, ip }, tls) => {
      const name = ip ?? url;
      return {
        async request(request, limitMs, signal) {
          asked.push(`${name} ${request.path}`);
          const answer = answers.get(`${name} ${request.path}`) ?? answers.get(name) ?? OK;
          if (answer !== 'hang' && !('afterMs' in answer)) return answer;
          const answerMs = answer === 'hang' ? Number.POSITIVE_INFINITY : answer.afterMs;
          const silence = fail('unavailable', `no answer with ${tls.ca}`);
          return await new Promise((resolve) => {
            const end = (): void => {
              timer.cancel();
              resolve(silence);
            };
            const timer = clock.setTimer(Math.min(limitMs, answerMs), () =>
              resolve(answerMs < limitMs ? OK : silence),
            );
            signal.addEventListener('abort', end, { once: true });
            if (signal.aborted) end();
          });
        },
        close: async () => void closed.push(`${name} with ${tls.ca}`),
      };
    },
    requestTimeoutMs: more.requestTimeoutMs ?? 2_000,
    hedge: more.hedge ?? false,
    budget: createRetryBudget(clock),
    clock,
    log: silentLog,
  });
  const under: AddressesUnderTest = {
    addresses,
    clock,
    answers,
    asked,
    closed,
    tls: async () => succeed({ ca: 'first' }),
  };
  return under;
}
