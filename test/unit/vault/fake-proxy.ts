/**
 * An HTTP CONNECT proxy: real bytes on a real socket, answered as squid and others do it (RFC 9110,
 * 9.3.6). It opens a way, answers with a status, or takes the request and says nothing.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export type FakeProxy = {
  readonly url: string;
  /** What is asked of it: the request line and headers of each CONNECT. */
  readonly asked: string[];
  /** Sockets that are open. */
  readonly open: Set<Socket>;
  /** Resolves when the next CONNECT has come in. */
  next(): Promise<void>;
  /** From now on. */
  answer: 'open' | 'silence' | string;
};

export async function startFakeProxy(t: TestContext): Promise<FakeProxy> {
  const open = new Set<Socket>();
  let arrived = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
    let head = '';
    const take = (chunk: Buffer): void => {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      socket.off('data', take);
      proxy.asked.push(head);
      arrived.resolve();
      if (proxy.answer === 'silence') return;
      if (proxy.answer !== 'open') {
        socket.end(proxy.answer);
        return;
      }
      const [, host = '', port = ''] = /^CONNECT \[?(.*?)\]?:(\d+) /.exec(head) ?? [];
      const behind = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        socket.pipe(behind).pipe(socket);
      });
      behind.on('error', () => socket.destroy());
      socket.once('close', () => behind.destroy());
    };
    socket.on('data', take);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const proxy: FakeProxy = {
    url: `http://127.0.0.1:${port}`,
    asked: [],
    open,
    async next() {
      await arrived.promise;
      arrived = Promise.withResolvers();
    },
    answer: 'open',
  };
  return proxy;
}
