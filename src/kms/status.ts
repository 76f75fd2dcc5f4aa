/** Which gRPC status the caller of a KMS API sees, as a table. */
import { status } from '@grpc/grpc-js';
import type { ProviderError, ProviderErrorKind } from '../providers/errors.ts';

/** A reply that is not a message; `details` is a sentence for the operator of kube-apiserver. */
export type Failure = { readonly code: status; readonly details: string };

export type Reply<T> =
  | { readonly ok: true; readonly message: T }
  | { readonly ok: false; readonly failure: Failure };

const CODE_OF: Readonly<Record<ProviderErrorKind, status>> = {
  unavailable: status.UNAVAILABLE,
  throttled: status.UNAVAILABLE,
  behind: status.UNAVAILABLE,
  overloaded: status.RESOURCE_EXHAUSTED,
  // The caller is not the one who is not authenticated: this plugin is.
  unauthenticated: status.FAILED_PRECONDITION,
  denied: status.PERMISSION_DENIED,
  invalid: status.INVALID_ARGUMENT,
  internal: status.INTERNAL,
};

/** A message as the reply. */
export function reply<T>(message: T): Reply<T> {
  return { ok: true, message };
}

/** A refusal that says which of the caller's bytes are at fault. */
export function invalidArgument(details: string): Reply<never> {
  return { ok: false, failure: { code: status.INVALID_ARGUMENT, details } };
}

/** A provider's failure as the caller sees it. */
export function failed(error: ProviderError): Reply<never> {
  return { ok: false, failure: { code: CODE_OF[error.kind], details: error.message } };
}
