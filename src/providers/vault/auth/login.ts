/** What every way of logging in has in common. */
import { createHash } from 'node:crypto';
import type { Log } from '../../../observe/log.ts';
import type { Clock } from '../../../system/clock.ts';
import type { Result } from '../../errors.ts';
import type { VaultReply, VaultRequest } from '../reply.ts';
import type { Step } from './advice.ts';

/** A token and its life, as Vault told it. */
export type Login = {
  readonly token: string;
  /** How long it lives from now on, in milliseconds; Infinity for one that never expires. */
  readonly ttlMs: number;
  readonly renewable: boolean;
  /** Whether we made it by logging in, and may revoke it when we end. */
  readonly own: boolean;
  /** Whether Vault has taken it already: it granted it now, or answered a look-up with it. */
  readonly proven: boolean;
  /** How often it may be used, where the role limits that. */
  readonly uses?: number;
};

/** Sends one request on whichever server works; `token` is in the request where it needs one. */
export type Send = (request: VaultRequest, signal: AbortSignal) => Promise<Result<VaultReply>>;

/** Reads a secret anew: an absolute path, or `credential:NAME`. Throws a sentence that says what to do. */
export type ReadSecret = (place: string) => Promise<string>;

/** What a login is made with. */
export type Asking = {
  readonly send: Send;
  /** Aborts when nobody waits for the login any more. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
  /** Takes a login that was given up, and may bring a token yet: it is then used or given back. */
  late(login: Promise<Result<Login>>): void;
  /** Gives back a token of ours that has no use any more. */
  giveBack(login: Login): void;
};

/** Vault, or what was read before it was asked, refuses the login: the facts for the advice. */
export type LoginFailure = {
  readonly ok: false;
  readonly error: Extract<Result<never>, { ok: false }>['error'];
  /** What is wrong is not with the credentials, so that other ones would not help. */
  readonly isElsewhere?: true;
  /** Undefined where trying again can help without anybody's doing. */
  readonly refusal?: {
    readonly step: Step;
    readonly status: number;
    /** What was asked for. */
    readonly path: string;
    /** Vault's own words, as they came. */
    readonly words: string;
  };
};

export type LoginOutcome = { readonly ok: true; readonly value: Login } | LoginFailure;

/**
 * One way of logging in. Credentials are read at each login, so that rotating them needs no restart.
 */
export type AuthMethod = {
  /** Its name in the configuration, for logs. */
  readonly name: string;
  /** Who logs in: the mount and the role, never a secret. Refusals are counted by it. */
  readonly identity: string;
  /** Whether Vault locks the user out where it has refused the credentials a few times. */
  readonly locksOut: boolean;
  /** What the credential is called, and where a person writes another one. */
  readonly credential: { readonly what: string; readonly place: string };
  /** Where the token itself is kept, where the method does not get one granted. */
  readonly tokenPlace?: string;
  /**
   * Reads the credentials. They are compared, never logged: those that Vault refused are not sent
   * again and again, since that would lock the user out.
   */
  credentials(): Promise<Result<Credentials>>;
  login(credentials: Credentials, asking: Asking): Promise<LoginOutcome>;
};

/** Two servers fit into the second that a session has for it at its end. */
const REVOKE_FAILOVER_MS = 500;

/** https://developer.hashicorp.com/vault/api-docs/auth/token#revoke-a-token-self */
export function revocationOf(token: string): VaultRequest {
  return {
    method: 'POST',
    path: 'auth/token/revoke-self',
    token,
    body: {},
    what: 'revoking the token',
    holds: 'nothing',
    failoverMs: REVOKE_FAILOVER_MS,
  };
}

export type Credentials = Readonly<Record<string, string>>;

/** The same for the same credentials, and nothing that could be one. */
export function fingerprintOf(credentials: Credentials): string {
  return createHash('sha256').update(JSON.stringify(credentials)).digest('base64');
}
