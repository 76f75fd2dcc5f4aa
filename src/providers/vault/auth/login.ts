/** What every way of logging in has in common. */
import type { Result } from '../../errors.ts';
import type { VaultReply, VaultRequest } from '../reply.ts';

/** A token and its life, as Vault told it. */
export type Login = {
  readonly token: string;
  /** How long it lives from now on, in milliseconds; Infinity for one that never expires. */
  readonly ttlMs: number;
  readonly renewable: boolean;
  /** Whether we made it by logging in, and may revoke it when we end. */
  readonly own: boolean;
};

/** Sends one request on whichever server works; `token` is in the request where it needs one. */
export type Send = (request: VaultRequest, signal: AbortSignal) => Promise<Result<VaultReply>>;

/** Reads a secret anew: an absolute path, or `credential:NAME`. Throws a sentence that says what to do. */
export type ReadSecret = (place: string) => Promise<string>;

/**
 * One way of logging in. Credentials are read at each login, so that rotating them needs no restart.
 */
export type AuthMethod = {
  /** Its name in the configuration, for logs. */
  readonly name: string;
  /** Whether Vault locks the user out where it has refused the credentials a few times. */
  readonly locksOut: boolean;
  /** What to do where Vault takes the credentials no longer. */
  readonly advice: string;
  /**
   * Reads the credentials. They are compared, never logged: those that Vault refused are not sent
   * again and again, since that would lock the user out.
   */
  credentials(): Promise<Result<Credentials>>;
  login(credentials: Credentials, send: Send, signal: AbortSignal): Promise<Result<Login>>;
};

/** https://developer.hashicorp.com/vault/api-docs/auth/token#revoke-a-token-self */
export function revocationOf(token: string): VaultRequest {
  return {
    method: 'POST',
    path: 'auth/token/revoke-self',
    token,
    body: {},
    what: 'revoking the token',
    holds: 'nothing',
  };
}

export type Credentials = Readonly<Record<string, string>>;
