/**
 * A wire tap between the plugin and a real Vault: passes every request on as it is, and remembers
 * what its headers were. Changes nothing, so it stands for nothing but the wire.
 */
import { createServer, request as forward } from 'node:http';
import type { AddressInfo } from 'node:net';

export type RecordedRequest = {
  readonly method: string;
  readonly path: string;
  readonly namespace: string | undefined;
};

export type RecordingProxy = AsyncDisposable & {
  readonly address: string;
  readonly requests: readonly RecordedRequest[];
};

/** Listens on a port of 127.0.0.1 until it is disposed of. */
export async function startRecordingProxy(target: string): Promise<RecordingProxy> {
  const requests: RecordedRequest[] = [];
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming;
    const namespace = headers['x-vault-namespace'];
    requests.push({ method, path: url, namespace: namespace?.toString() });
    const upstream = forward(new URL(url, target), { method, headers }, (answer) => {
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
    requests,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
