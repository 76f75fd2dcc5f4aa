/** An address that passes each request on to a real Vault as it is, and the answer back. */
import { createServer, request as forward, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Forwarding = AsyncDisposable & { readonly address: string };

export type ForwardingEvents = {
  /** Before a request is passed on. */
  readonly asked?: (incoming: IncomingMessage) => void;
  /** When Vault has answered; the answer is passed back once the promise has resolved. */
  readonly answered?: (url: string) => Promise<void>;
};

/** Listens on a port of 127.0.0.1 until it is disposed of. */
export async function startForwarding(
  target: string,
  { asked, answered }: ForwardingEvents,
): Promise<Forwarding> {
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming;
    asked?.(incoming);
    const upstream = forward(new URL(url, target), { method, headers }, async (answer) => {
      await answered?.(url);
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
