/** Asks the admin endpoint of a running daemon how it is. */
import { request } from 'node:http';
import type { ResolvedConfig } from '../config/environment.ts';

/** What is read of /readyz; an older version may say less. */
export type Running = {
  readonly keyIds: readonly string[] | undefined;
  readonly keyId: string | undefined;
  /** How many reloads were requested. */
  readonly reloadRequests: number | undefined;
  readonly reload: RunningReload | undefined;
};

/** The last result of a reload; `requests` of them had been made when its trial began. */
export type RunningReload = {
  readonly at: string;
  readonly ok: boolean;
  readonly why: string | undefined;
  readonly requests: number | undefined;
};

const ANSWER_LIMIT_MS = 2_000;
const MAX_ANSWER_BYTES = 1 << 20;

/** The answer of /readyz, ready or not; undefined where nobody answers there. */
export async function askRunning(admin: ResolvedConfig['admin']): Promise<Running | undefined> {
  const where = placeOf(admin);
  if (where === undefined) return undefined;
  const body = await get(where);
  return body === undefined ? undefined : readRunning(body);
}

type Place = { readonly socketPath: string } | { readonly host: string; readonly port: string };

function placeOf({ socket, address }: ResolvedConfig['admin']): Place | undefined {
  if (address !== undefined) {
    const at = address.lastIndexOf(':');
    return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: address.slice(at + 1) };
  }
  return socket === undefined ? undefined : { socketPath: socket };
}

function get(where: Place): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asking = request(
      { ...where, path: '/readyz', agent: false, signal: AbortSignal.timeout(ANSWER_LIMIT_MS) },
      (answer) => {
        let body = '';
        answer.setEncoding('utf8');
        answer.on('data', (text: string) => {
          body += text;
          if (body.length > MAX_ANSWER_BYTES) answer.destroy();
        });
        answer.on('error', () => resolve(undefined));
        answer.on('close', () => resolve(answer.complete ? body : undefined));
      },
    );
    asking.on('error', () => resolve(undefined));
    asking.end();
  });
}

/** Undefined where it is not the answer of a Trousseau. */
export function readRunning(body: string): Running | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    return undefined;
  }
  const field = (of: unknown, name: string): unknown =>
    typeof of === 'object' && of !== null ? (of as Record<string, unknown>)[name] : undefined;
  const text = (value: unknown): string | undefined =>
    typeof value === 'string' ? value : undefined;
  const count = (value: unknown): number | undefined =>
    Number.isSafeInteger(value) ? Number(value) : undefined;
  if (text(field(answer, 'state')) === undefined) return undefined;
  const keyIds = field(answer, 'keyIds');
  const reload = field(answer, 'reload');
  const at = text(field(reload, 'at'));
  return {
    keyId: text(field(answer, 'keyId')),
    keyIds: Array.isArray(keyIds) ? keyIds.filter((id) => typeof id === 'string') : undefined,
    reloadRequests: count(field(answer, 'reloadRequests')),
    reload:
      at === undefined
        ? undefined
        : {
            at,
            ok: field(reload, 'ok') === true,
            why: text(field(reload, 'why')),
            requests: count(field(reload, 'requests')),
          },
  };
}
