/** An address that passes each request on to a real Vault as it is, and the answer back. */
import { createServer, request as forward, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Forwarding = AsyncDisposable & { readonly address: string };

export type ForwardingEvents = {
  /** Before a request is passed on. */
  readonly asked?: (incoming: IncomingMessage) => void;
  /** When Vault has answered; the answer is passed back once the promise has resolved. */
  readonly answered?: (url: string) => Promise<void>;
  /** What is passed back in the place of Vault's answer, where it is not undefined. */
  readonly instead?: (
    url: string,
  ) => { readonly status: number; readonly body: object } | undefined;
};

/** Listens on a port of 127.0.0.1 until it is disposed of. */
export async function startForwarding(
  target: string,
  { asked, answered, instead }: ForwardingEvents,
): Promise<Forwarding> {
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming;
    asked?.(incoming);
    const upstream = forward(new URL(url, target), { method, headers }, async (answer) => {
      await answered?.(url);
      const other = instead?.(url);
      if (other !== undefined) {
        answer.resume();
        outgoing.writeHead(other.status, { 'content-type': 'application/json' });
        outgoing.end(JSON.stringify(other.body));
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    upstream.on('error', () => outgoing.destroy());
    incoming.pipe(upstream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
