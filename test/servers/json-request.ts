/** JSON over HTTP(S) to a server of the tests, verified against the test's own authority. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';

const DEFAULT_TIMEOUT_MS = 30_000;

export type JsonRequest = {
  readonly method: string;
  readonly url: string;
  /** A unix socket instead of the host that the URL names. */
  readonly socketPath?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** PEM, for https. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly signal?: AbortSignal;
};

/** The parsed body, or the text where it is no JSON. */
export type JsonReply = { readonly status: number; readonly body: unknown };

/** Sends one request on a connection of its own; resolves for every HTTP status. */
export async function jsonRequest(request: JsonRequest): Promise<JsonReply> {
  const { method, url, socketPath, headers, body, ca, cert, key } = request;
  const signal = request.signal ?? AbortSignal.timeout(DEFAULT_TIMEOUT_MS);
  const options = {
    method,
    signal,
    agent: false,
    ...(socketPath === undefined ? {} : { socketPath }),
    headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
  };
  const call = url.startsWith('https:')
    ? httpsRequest(url, { ...options, ca, cert, key })
    : httpRequest(url, options);
  call.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: parse(await text(response)) };
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
