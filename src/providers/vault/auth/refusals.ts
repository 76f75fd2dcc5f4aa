/**
 * Logins that Vault refused, by who logs in. Vault 1.13 and newer lock a user out for 15 minutes after
 * five wrong logins within as long, whoever sends them, and with AppRole the user is the role: a node
 * with an old secret id must not keep all others from logging in. So the count belongs to the process
 * and outlives reloads, each of which makes a session of its own. So does the count of tokens that Vault grants
 * and does not take from here: nobody can give those back.
 * https://developer.hashicorp.com/vault/docs/concepts/user-lockout
 */
import type { Clock } from '../../../system/clock.ts';
import { fail, type Result } from '../../errors.ts';

type Failure = Extract<Result<never>, { ok: false }>;

/** Who logs in with what; `credentials` is a fingerprint. */
export type Attempt = { readonly identity: string; readonly credentials: string };

export type Refusal = Attempt & {
  /** What failed and what to do. */
  readonly message: string;
  /** Whether Vault may have counted it as a wrong login. */
  readonly counts: boolean;
  /** Where a person writes other credentials; undefined where other ones would not help. */
  readonly place: string | undefined;
  /** Whether the login brought a token that Vault does not take, and that lives in it until its end. */
  readonly leavesToken?: true;
};

export type Refusals = {
  /**
   * Why the same credentials are not sent now; undefined where they may be.
   *
   * @param asked whether a person wants a try now, as with SIGHUP, which is given where it cannot lock
   */
  holds(attempt: Attempt, asked: boolean): Failure | undefined;
  /** Vault refused: answers the failure, with the time of the next try. */
  refused(refusal: Refusal): Failure;
  /**
   * Vault took the credentials: ends the waits and the count of the identity. The count of unusable
   * tokens stays.
   */
  accepted(identity: string): void;
  /** Vault took a token of the identity for something: that is forgotten, too. */
  tokenTaken(identity: string): void;
};

type Entry = {
  readonly credentials: string;
  readonly message: string;
  readonly place: string | undefined;
  readonly until: number;
  /** How often the same credentials were refused in a row. */
  readonly times: number;
  /** When Vault may have counted a wrong login. */
  readonly counted: readonly number[];
  /** See {@link Refusal.leavesToken}. */
  readonly leavesToken: boolean;
};

/** How long Vault remembers a wrong login, and locks a user out; and a minute more. */
const LOCKOUT_MS = 16 * 60_000;
/** The fifth one locks. One of the four is kept for a person who asks for a try. */
const MOST_BY_ITSELF = 3;
const MOST_COUNTED = 4;
const WAITS_MS = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000];
const WAITS_COUNTED_MS = [5_000, 30_000];
/** A token may live for weeks: a few in the first hour, then 24 a day. */
const WAITS_LEAVING_MS = [60_000, 5 * 60_000, 30 * 60_000, 3_600_000];

/** Nothing was refused yet. */
export function createRefusals(clock: Clock): Refusals {
  const entries = new Map<string, Entry>();

  const countedOf = (identity: string): readonly number[] =>
    (entries.get(identity)?.counted ?? []).filter((at) => clock.now() - at < LOCKOUT_MS);

  const failureOf = ({ message, place, until, counted }: Entry): Failure => {
    const spent = counted.length >= MOST_COUNTED;
    const sighup = spent
      ? 'SIGHUP tries no sooner, since Vault locks a user out after five wrong logins'
      : 'at once after SIGHUP (systemctl reload trousseau)';
    const at = timeOf(clock.timeOfDay(until));
    const where = place === undefined ? '' : `at once where ${place} changes, `;
    const next = `the next try is at ${at}, ${where}${sighup}`;
    return fail('denied', `${message}; ${next}`);
  };

  return {
    holds({ identity, credentials }, asked) {
      const entry = entries.get(identity);
      if (entry?.credentials !== credentials || clock.now() >= entry.until) return undefined;
      return asked && countedOf(identity).length < MOST_COUNTED ? undefined : failureOf(entry);
    },
    refused({ identity, credentials, message, counts, place, leavesToken = false }) {
      const before = entries.get(identity);
      const now = clock.now();
      const isSame = before?.credentials === credentials && before.leavesToken === leavesToken;
      const times = isSame ? before.times + 1 : 1;
      const counted = counts ? [...countedOf(identity), now] : countedOf(identity);
      const waits = leavesToken ? WAITS_LEAVING_MS : counts ? WAITS_COUNTED_MS : WAITS_MS;
      const mayLock = counts && Math.max(counted.length, times) >= MOST_BY_ITSELF;
      const wait = mayLock ? LOCKOUT_MS : (waits[Math.min(times, waits.length) - 1] ?? 0);
      const until = now + wait;
      const entry = { credentials, message, place, until, times, counted, leavesToken };
      entries.set(identity, entry);
      return failureOf(entry);
    },
    accepted(identity) {
      const entry = entries.get(identity);
      if (entry?.leavesToken === true) entries.set(identity, { ...entry, counted: [] });
      else entries.delete(identity);
    },
    tokenTaken(identity) {
      if (entries.get(identity)?.leavesToken === true) entries.delete(identity);
    },
  };
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
