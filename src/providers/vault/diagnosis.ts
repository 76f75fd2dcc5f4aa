/**
 * Why Vault denied a request: asks Vault what the token may do there, and finds the line of the advice
 * that fits. https://developer.hashicorp.com/vault/api-docs/system/capabilities-self
 */
import type { Clock } from '../../system/clock.ts';
import { withLimit } from '../../system/within.ts';
import { fail, type Result } from '../errors.ts';
import { adviceFor, type Facts, isTokenDenied, mayDo } from './auth/advice.ts';
import type { AuthMethod, Send } from './auth/login.ts';
import type { DeniedFor } from './denials.ts';
import type { VaultRefusal, VaultRequest } from './reply.ts';

/** A request that was denied, with what Vault said. */
export type Denied = {
  readonly request: Pick<VaultRequest, 'method' | 'path' | 'what'>;
  readonly refusal: Pick<VaultRefusal, 'status' | 'words' | 'failure'>;
};

/** The token that was denied. */
export type DeniedToken = {
  readonly token: string;
  /** Whether Vault granted it within the last seconds. */
  readonly fresh: boolean;
  readonly own: boolean;
};

/** What Vault says of a token that it denied something to. */
export type Standing =
  /** It is good, and a policy allows the path all the same. */
  | { readonly kind: 'allowed'; readonly granted: readonly string[] }
  /** It is good, and no policy of it allows the path, as far as Vault tells. */
  | { readonly kind: 'not allowed'; readonly granted: readonly string[] | undefined }
  /** Vault does not take the token itself: it has ended, or is bound to another address. */
  | { readonly kind: 'not taken' };

const LIMIT_MS = 2_000;

/** What a token may do at the path that was denied to it. Never rejects. */
export async function standingOf(
  denied: Denied,
  token: string,
  send: Send,
  clock: Clock,
): Promise<Standing> {
  if (deniedFor(denied) === 'token') return { kind: 'not taken' };
  const { path } = denied.request;
  const request: VaultRequest = {
    method: 'POST',
    path: 'sys/capabilities-self',
    token,
    body: { paths: [path] },
    what: 'asking what the token may do',
    holds: 'data',
  };
  const replied = await withLimit(clock, LIMIT_MS, undefined, (signal) => send(request, signal));
  const granted = replied.ok ? grantedIn(replied.value.body['data'], path) : undefined;
  return granted !== undefined && mayDo(granted, capabilityOf(denied))
    ? { kind: 'allowed', granted }
    : { kind: 'not allowed', granted };
}

/** What the request was denied for. */
export function deniedFor({ refusal: { words } }: Denied): DeniedFor {
  return isTokenDenied(words) ? 'token' : 'policy';
}

function grantedIn(data: unknown, path: string): readonly string[] | undefined {
  if (typeof data !== 'object' || data === null) return undefined;
  const granted = (data as Record<string, unknown>)[path];
  return Array.isArray(granted) ? granted.filter((each) => typeof each === 'string') : undefined;
}

function capabilityOf({ request }: Denied): Facts['capability'] {
  return request.method === 'GET' ? 'read' : 'update';
}

/** The failure with what is wrong and what to do. */
export function diagnose(
  denied: Denied,
  token: DeniedToken,
  standing: Standing,
  { name, credential, tokenPlace }: Pick<AuthMethod, 'name' | 'credential' | 'tokenPlace'>,
): Extract<Result<never>, { ok: false }> {
  const { request, refusal } = denied;
  const advice = adviceFor({
    step: 'use',
    status: refusal.status,
    words: refusal.words,
    path: request.path,
    capability: capabilityOf(denied),
    method: name,
    credential: tokenPlace === undefined ? credential : { what: 'the token', place: tokenPlace },
    token: {
      fresh: token.fresh,
      own: token.own,
      good: standing.kind !== 'not taken',
      granted: standing.kind === 'not taken' ? undefined : standing.granted,
    },
  });
  return fail('denied', `${request.what}: Vault answered ${refusal.status}: ${advice}`);
}
