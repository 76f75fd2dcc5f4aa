/** A way to a server that can forget its connections, as a firewall does that was started again. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type ForgetfulWay = AsyncDisposable & {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** Nothing passes on the connections that there are, and neither end is told; new ones work. */
  forget(): number;
};

/** Opens a way to `127.0.0.1:PORT`. */
export async function startForgetfulWay(port: number): Promise<ForgetfulWay> {
  const pairs = new Set<readonly [Socket, Socket]>();
  const forgotten: Socket[] = [];
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    const pair = [near, far] as const;
    pairs.add(pair);
    const end = (): void => {
      if (!pairs.delete(pair)) return;
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    near.pipe(far);
    far.pipe(near);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    forget() {
      const count = pairs.size;
      for (const [near, far] of pairs) {
        near.unpipe(far).pause();
        far.unpipe(near).pause();
        forgotten.push(near, far);
      }
      pairs.clear();
      return count;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of [...forgotten, ...[...pairs].flat()]) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
