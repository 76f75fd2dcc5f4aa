/** A connection through an HTTP CONNECT proxy (RFC 9110, section 9.3.6). */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { LookupFunction, Socket } from 'node:net';
import { shownProxy } from '../../system/proxy.ts';
import { explained } from './errors.ts';

export type TunnelOptions = {
  /** The proxy's URL, with its user and password where it wants them. */
  readonly proxy: string;
  /** The authorities that may vouch for a proxy that is spoken to by TLS. */
  readonly ca: readonly string[];
  readonly lookup: LookupFunction;
};

/** What a proxy's answer to CONNECT means for the operator. */
const ADVICE: Readonly<Record<number, string>> = {
  403: 'its rules do not let this host reach that address',
  407: 'check the user and the password in its URL',
  502: 'it cannot reach that address',
  503: 'it cannot reach that address now',
  504: 'it gets no answer from that address',
};

/**
 * Opens a tunnel to `authority`, e.g. `vault.example:8200`. Rejects with a sentence that names the
 * proxy and its answer.
 *
 * @param signal destroys whatever was opened; without it a proxy that hangs would be waited for
 */
export function openTunnel(
  authority: string,
  { proxy, ca, lookup }: TunnelOptions,
  signal: AbortSignal,
): Promise<Socket> {
  const { protocol, hostname, port, username, password } = new URL(proxy);
  const secure = protocol === 'https:';
  const login = username === '' ? undefined : `${decoded(username)}:${decoded(password)}`;
  const headers = {
    host: authority,
    ...(login === undefined
      ? {}
      : { 'proxy-authorization': `Basic ${Buffer.from(login).toString('base64')}` }),
  };
  return new Promise((resolve, reject) => {
    const request = (secure ? requestHttps : requestHttp)({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port || (secure ? 443 : 80),
      method: 'CONNECT',
      path: authority,
      headers,
      lookup,
      agent: false,
      signal,
      // Otherwise NODE_TLS_REJECT_UNAUTHORIZED would decide, and anybody could ask for the password.
      ...(secure ? { ca: [...ca], minVersion: 'TLSv1.2' as const, rejectUnauthorized: true } : {}),
    });
    request.once('connect', ({ statusCode = 0 }, socket: Socket, head: Buffer) => {
      if (statusCode >= 200 && statusCode < 300) {
        // What fails of it later shows in the connection that is made on it.
        socket.on('error', () => socket.destroy());
        if (head.length > 0) socket.unshift(head);
        return resolve(socket);
      }
      socket.destroy();
      const advice = ADVICE[statusCode] ?? 'is it an HTTP proxy that allows CONNECT?';
      reject(
        explained(`the proxy ${shownProxy(proxy)} answers ${statusCode} to CONNECT: ${advice}`),
      );
    });
    request.on('error', reject);
    request.end();
  });
}

/** A stray `%` stands for itself, as curl has it. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return text;
  }
}
