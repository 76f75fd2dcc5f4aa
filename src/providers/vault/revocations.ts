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
  /**
   * Revokes what is left now, each with one more try; resolves a second later at most. What Vault does
   * not take then is tried again for an hour, for a process that lives on, as after a reload.
   */
  stop(): Promise<void>;
  /** Resolves when nothing is left; undefined where nothing is. */
  left(): Promise<void> | undefined;
};

export type RevocationOptions = { readonly send: Send; readonly clock: Clock; readonly log: Log };

type Entry = {
  readonly token: string;
  readonly endsAt: number;
  /** When it is no longer tried, whether the token has ended or not. */
  triedUntil: number;
  timer: Timer | undefined;
  /** The attempt that is under way, if one is, and why the last one failed. */
  trying: Promise<void> | undefined;
  why: string | undefined;
  /** Whether the log says, or will say, that it is not given back. */
  logged: boolean;
};

const LIMIT_MS = 1_000;
const RETRY_FIRST_MS = 5_000;
const RETRY_MOST_MS = 60_000;
const AFTER_STOP_MS = 3_600_000;

/** Nothing to revoke yet. */
export function createRevocations({ send, clock, log }: RevocationOptions): Revocations {
  const left = new Map<string, Entry>();
  let said = false;
  let stopped = false;
  let drained: PromiseWithResolvers<void> | undefined;

  /** Why it did not work; undefined where it did, or never will. */
  const revoke = async ({ token, triedUntil }: Entry): Promise<string | undefined> => {
    if (clock.now() >= triedUntil) return undefined;
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

  const attempt = (entry: Entry, tries: number): void => {
    entry.timer = undefined;
    entry.trying = revoke(entry).then((why) => {
      entry.trying = undefined;
      entry.why = why;
      if (why === undefined) {
        left.delete(entry.token);
        if (left.size > 0) return;
        drained?.resolve();
        drained = undefined;
        return;
      }
      const wait = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** tries);
      log[entry.logged ? 'debug' : 'warn']?.('token not given back yet', {
        why,
        nextTryInMs: wait,
      });
      entry.logged = true;
      entry.timer = clock.setTimer(wait, () => attempt(entry, tries + 1));
    });
  };

  return {
    add({ token, ttlMs }, afterMs) {
      const endsAt = clock.now() + ttlMs;
      const entry: Entry = {
        token,
        endsAt,
        triedUntil: stopped ? Math.min(endsAt, clock.now() + AFTER_STOP_MS) : endsAt,
        timer: undefined,
        trying: undefined,
        why: undefined,
        logged: false,
      };
      left.set(token, entry);
      if (afterMs > 0) entry.timer = clock.setTimer(afterMs, () => attempt(entry, 0));
      else attempt(entry, 0);
    },
    async stop() {
      stopped = true;
      const entries = [...left.values()];
      for (const entry of entries) {
        entry.triedUntil = Math.min(entry.triedUntil, clock.now() + AFTER_STOP_MS);
        entry.logged = true;
        entry.timer?.cancel();
        if (entry.trying === undefined) attempt(entry, 0);
      }
      await Promise.all(entries.map(({ trying }) => trying));
      const failed = entries.filter(({ why }) => why !== undefined);
      if (failed.length === 0) return;
      const longest = Math.max(...failed.map(({ endsAt }) => endsAt - clock.now()));
      log.warn?.(
        'tokens not given back: they live on in Vault until their end, unless this process lives on and gives them back',
        {
          tokens: failed.length,
          why: failed[0]?.why,
          ...(Number.isFinite(longest) ? { endInSeconds: Math.round(longest / 1000) } : {}),
        },
      );
    },
    left() {
      if (left.size === 0) return undefined;
      drained ??= Promise.withResolvers<void>();
      return drained.promise;
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
