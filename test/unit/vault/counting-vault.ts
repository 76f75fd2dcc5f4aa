/**
 * A Vault that counts its tokens: what it granted, took back and let end. Logins, unwrapping, renewals
 * and revocations as Vault 1.21 answers them; how long an answer takes is the test's to say, and what
 * a request did is done whether or not anybody waits for the answer.
 */
import { fail } from '../../../src/providers/errors.ts';
import type { Send } from '../../../src/providers/vault/auth/login.ts';
import { notCutOff } from '../../../src/providers/vault/not-cut-off.ts';
import type { VaultRequest } from '../../../src/providers/vault/reply.ts';
import { sleep } from '../../../src/system/clock.ts';
import { unlessAborted } from '../../../src/system/within.ts';
import type { DrivenClock } from '../driven-clock.ts';
import { replyOf } from './reply-of.ts';

type Reply = Awaited<ReturnType<Send>>;

export type CountingVault = {
  readonly send: Send;
  /** How long an answer to a path takes, in milliseconds; at once where nothing is said. */
  readonly takes: Map<string, number>;
  /** Answers 503 to everything while it is true. */
  sealed: boolean;
  readonly granted: string[];
  /** The tokens of logins that are good now. */
  live(): readonly string[];
  /** Ends a token, as an administrator does. */
  revoke(token: string): void;
  readonly asked: string[];
  readonly renewable: { yes: boolean };
};

const TTL_S = 3600;
const NEVER = new AbortController().signal;

export function createCountingVault(clock: DrivenClock): CountingVault {
  const granted: string[] = [];
  const ended = new Set<string>();
  const wrapped = new Set(['hvs.wrapping']);
  const known = (token = ''): boolean => granted.includes(token) && !ended.has(token);

  const answer = (request: VaultRequest): Reply => {
    const { path, token } = request;
    const refuse = (status: number, error: string): Reply =>
      replyOf(request, status, { errors: [error] });
    if (vault.sealed) return refuse(503, 'Vault is sealed');
    if (path.startsWith('auth/') && path.includes('login')) {
      const made = `hvs.granted-${granted.length + 1}`;
      granted.push(made);
      const auth = { client_token: made, lease_duration: TTL_S, renewable: vault.renewable.yes };
      return replyOf(request, 200, { auth });
    }
    if (path === 'sys/wrapping/unwrap') {
      return wrapped.delete(token ?? '')
        ? replyOf(request, 200, { data: { secret_id: 'unwrapped' } })
        : refuse(400, 'wrapping token is not valid or does not exist');
    }
    if (!known(token) && token !== 'hvs.dedicated')
      return refuse(403, '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n');
    switch (path) {
      case 'auth/token/revoke-self':
        ended.add(token ?? '');
        return replyOf(request, 204, undefined);
      case 'auth/token/renew-self':
        return replyOf(request, 200, {
          auth: { client_token: token, lease_duration: TTL_S, renewable: true },
        });
      case 'auth/token/lookup-self':
        return replyOf(request, 200, { data: { ttl: TTL_S, renewable: true, num_uses: 0 } });
      case 'secret/data/t':
        return replyOf(request, 200, { data: { data: { token: 'hvs.dedicated' } } });
      default:
        return replyOf(request, 200, { data: {} });
    }
  };

  const vault: CountingVault = {
    takes: new Map(),
    sealed: false,
    granted,
    asked: [],
    renewable: { yes: true },
    live: () => granted.filter(known),
    revoke: (token) => void ended.add(token),
    async send(request, signal) {
      vault.asked.push(request.path);
      const replied = answer(request);
      const takes = vault.takes.get(request.path) ?? 0;
      const sent =
        takes === 0 ? Promise.resolve(replied) : sleep(clock, takes, NEVER).then(() => replied);
      const { leaves } = request;
      if (leaves !== undefined)
        return await notCutOff({ ...request, leaves }, sent, leaves.limitMs, signal, clock);
      return await unlessAborted<Reply>(sent, signal, () => fail('unavailable', 'cut off'));
    },
  };
  return vault;
}
