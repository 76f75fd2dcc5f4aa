/**
 * The closed set of ways in which a provider can fail. Every layer above decides from the kind
 * alone: what is tried again, which gRPC status the caller sees, and what Status announces.
 */

/** What went wrong, by what can be done about it. */
export type ProviderErrorKind =
  /** Could not be reached, sealed, 5xx, time-out: try elsewhere or again. */
  | 'unavailable'
  /** The provider asked for fewer requests: try again after `retryAfterMs`. */
  | 'throttled'
  /**
   * The server does not know this version of the key, which another one may know, or the same a
   * moment later: try again. Says nothing about the provider's health.
   */
  | 'behind'
  /** More calls wait for the provider than this process takes: nothing was tried. */
  | 'overloaded'
  /** The session is not accepted: log in again, once. */
  | 'unauthenticated'
  /** Definitive: a policy says no, or the key is gone. Trying again cannot help. */
  | 'denied'
  /** This ciphertext or plaintext can never work; says nothing about the provider's health. */
  | 'invalid'
  /** The provider answered something that it never should. */
  | 'internal';

/**
 * A failure of a provider as a value. `message` is one sentence for the operator: what failed and
 * what to do next. It never holds a plaintext, a ciphertext or a token.
 */
export type ProviderError = {
  readonly kind: ProviderErrorKind;
  readonly message: string;
  /** How long the provider asked to be left alone, in milliseconds; with `throttled` and `unavailable`. */
  readonly retryAfterMs?: number;
  /** The policy of the key rules out the version of this one ciphertext; with `denied`. */
  readonly retired?: true;
  readonly cause?: unknown;
};

/** An outcome that is either a value or a provider's failure; nothing is thrown across layers. */
export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: ProviderError };

/** A successful outcome. */
export function succeed<T>(value: T): Result<T> {
  return { ok: true, value };
}

/** A failed outcome. */
export function fail(
  kind: ProviderErrorKind,
  message: string,
  more: Pick<ProviderError, 'retryAfterMs' | 'retired' | 'cause'> = {},
): { readonly ok: false; readonly error: ProviderError } {
  return { ok: false, error: { kind, message, ...more } };
}
