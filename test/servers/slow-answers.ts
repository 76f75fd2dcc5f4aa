/**
 * A way to a real Vault on which answers take their time, as through a slow link: Vault has done by
 * then what was asked, whether or not anybody still waits.
 */
import { createServer, request as forward } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type SlowAnswers = AsyncDisposable & {
  readonly address: string;
  /** How many requests to a path have reached Vault and were answered by it. */
  answered(path: string): number;
};

/** `takes` says how long the answer to a path is held back, in milliseconds. */
export async function startSlowAnswers(
  target: string,
  takes: (path: string) => number,
): Promise<SlowAnswers> {
  const answered: string[] = [];
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming;
    const path = url.replace('/v1/', '');
    const upstream = forward(new URL(url, target), { method, headers }, async (answer) => {
      answered.push(path);
      await sleep(takes(path));
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
    answered: (path) => answered.filter((each) => each === path).length,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
