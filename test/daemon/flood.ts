/** What any user of a machine can do to a port on it: connect again and again, and send without end. */
import { connect } from 'node:net';
import { inTime } from '../servers/wait-until.ts';

export type Flood = {
  /** Resolves after so many more connections have ended; rejects where one takes longer than 20 s. */
  more(count: number): Promise<void>;
  stop(): void;
};

const CONNECTIONS = 4;
const END_MS = 20_000;
const REQUESTS = Buffer.from('GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1_500));

/** Four connections at a time, each with 1,500 requests in one piece. */
export function startFlood(address: string): Flood {
  const [host, port] = address.split(':');
  let stopped = false;
  let ended = 0;
  let heard = (): void => undefined;
  const again = (): void => {
    if (stopped) return;
    const socket = connect(Number(port), host);
    socket.on('error', () => socket.destroy());
    socket.once('connect', () => socket.write(REQUESTS));
    socket.resume().once('close', () => {
      ended += 1;
      heard();
      again();
    });
  };
  for (let i = 0; i < CONNECTIONS; i += 1) again();
  return {
    async more(count) {
      const until = ended + count;
      while (ended < until) {
        const { promise, resolve } = Promise.withResolvers<void>();
        heard = resolve;
        await inTime('the end of a connection of the flood', END_MS, promise);
      }
    },
    stop() {
      stopped = true;
    },
  };
}
