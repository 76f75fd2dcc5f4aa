/** A host from which nothing comes back: whoever connects waits, as behind a firewall that drops. */
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { startServer } from './process.ts';

const START_MS = 5_000;
/** More than the listener's queue holds: from then on Linux drops what asks for a connection. */
const FILLERS = 8;
const LISTEN = `require('net').createServer().listen({ host: '127.0.0.1', port: Number(process.argv[1]), backlog: 1 })`;

/** Takes the port, on which nobody may listen, until it is disposed of. */
export async function startSilentHost(dir: string, port: number): Promise<AsyncDisposable> {
  const running = await startServer(
    {
      program: process.execPath,
      args: ['-e', LISTEN, String(port)],
      logFile: join(dir, 'silent-host.log'),
    },
    START_MS,
    () => connects(port),
  );
  running.pause();
  const fillers: Socket[] = [];
  for (let i = 0; i < FILLERS; i += 1) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    fillers.push(socket);
  }
  return {
    async [Symbol.asyncDispose]() {
      await running.kill();
      for (const socket of fillers) socket.destroy();
    },
  };
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}
