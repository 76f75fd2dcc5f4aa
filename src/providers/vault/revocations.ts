/**
 * Tokens of ours that are not used any more, until Vault has taken them back. A revocation that fails,
 * as while Vault is sealed, is tried again as long as the token lives.
 */
import type { Log } from '../../observe/log.ts';
import type { Clock, Timer } from '../../system/clock.ts';
import { withLimit } from '../../system/within.ts';
import type { Result } from '../errors.ts';
import { type Login, revocationOf, type Send } from './auth/login.ts';
import type { VaultReply } from './reply.ts';

export type Revocations = {
  /** Revokes a token after so many milliseconds, since requests may be under way with it. */
  add(login: Pick<Login, 'token' | 'ttlMs'>, afterMs: number): void;
  /** Revokes what is left now, each with one more try; resolves a second later at most. */
  stop(): Promise<void>;
};

export type RevocationOptions = { readonly send: Send; readonly clock: Clock; readonly log: Log };

type Entry = {
  readonly token: string;
  readonly endsAt: number;
  timer: Timer | undefined;
  /** The request that is under way, if one is. */
  trying: Promise<string | undefined> | undefined;
};

const LIMIT_MS = 1_000;
const RETRY_FIRST_MS = 5_000;
const RETRY_MOST_MS = 60_000;

/** Nothing to revoke yet. */
export function createRevocations({ send, clock, log }: RevocationOptions): Revocations {
  const left = new Map<string, Entry>();
  let said = false;

  /** Why it did not work; undefined where it did, or never will. */
  const revoke = async ({ token, endsAt }: Entry): Promise<string | undefined> => {
    if (clock.now() >= endsAt) return undefined;
    const replied = await withLimit(clock, LIMIT_MS, undefined, (signal) =>
      send(revocationOf(token), signal),
    );
    const why = failureIn(replied);
    if (why === undefined) return undefined;
    if (isLasting(replied)) {
      // Vault knows the token no more, or its policy lacks update on auth/token/revoke-self.
      if (!said) log.info?.('token not given back', { why });
      said = true;
      return undefined;
    }
    return why;
  };

  const attempt = async (entry: Entry, tries: number): Promise<void> => {
    entry.timer = undefined;
    entry.trying = revoke(entry);
    const why = await entry.trying;
    entry.trying = undefined;
    if (why === undefined || !left.has(entry.token)) {
      left.delete(entry.token);
      return;
    }
    const wait = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** tries);
    log[tries === 0 ? 'warn' : 'debug']?.('token not given back yet', { why, nextTryInMs: wait });
    entry.timer = clock.setTimer(wait, () => void attempt(entry, tries + 1));
  };

  return {
    add({ token, ttlMs }, afterMs) {
      const entry: Entry = {
        token,
        endsAt: clock.now() + ttlMs,
        timer: undefined,
        trying: undefined,
      };
      left.set(token, entry);
      if (afterMs > 0) entry.timer = clock.setTimer(afterMs, () => void attempt(entry, 0));
      else void attempt(entry, 0);
    },
    async stop() {
      const entries = [...left.values()];
      left.clear();
      for (const { timer } of entries) timer?.cancel();
      const outcomes = await Promise.all(
        entries.map(async (entry) => ({ entry, why: await (entry.trying ?? revoke(entry)) })),
      );
      const failed = outcomes.filter(({ why }) => why !== undefined);
      if (failed.length === 0) return;
      const longest = Math.max(...failed.map(({ entry }) => entry.endsAt - clock.now()));
      log.warn?.('tokens not given back: they live on in Vault until their end', {
        tokens: failed.length,
        why: failed[0]?.why,
        ...(Number.isFinite(longest) ? { endInSeconds: Math.round(longest / 1000) } : {}),
      });
    },
  };
}

function failureIn(replied: Result<VaultReply>): string | undefined {
  if (!replied.ok) return replied.error.message;
  return replied.value.failure?.error.message;
}

/** What Vault itself says of the request, and will say again. */
function isLasting(replied: Result<VaultReply>): boolean {
  const kind = replied.ok ? replied.value.failure?.error.kind : undefined;
  return kind === 'unauthenticated' || kind === 'denied' || kind === 'invalid';
}
