/**
 * A process that only binds, serves and stops, with the daemon's own code, at the orders of the driver.
 * Its clock runs forty times as fast, so that a lost path is noticed within 50 ms.
 */
import { createServer } from 'node:net';
import { systemClock } from '../../src/system/clock.ts';
import { type ServedSocket, serveOnSocket } from '../../src/system/unix-socket.ts';
import { monotonicMs, type Order, type Report } from './messages.ts';

const FASTER = 40;
const clock = {
  ...systemClock,
  setTimer: (ms: number, callback: () => void) => systemClock.setTimer(ms / FASTER, callback),
};

let served: ServedSocket | undefined;
let starting: Promise<void> | undefined;

function say(report: Report['report'], why?: string): void {
  process.send?.({ report, at: monotonicMs(), ...(why === undefined ? {} : { why }) });
}

async function start(path: string, word: string): Promise<void> {
  const answering = () =>
    createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.end(word);
    });
  const opened = await serveOnSocket(answering, {
    ...{ path, mode: 0o600, group: undefined, shared: false, clock },
    changed: (why) => (why === undefined ? say('found') : say('lost', why)),
    failed: (why) => say('failed', why),
  });
  if ('problem' in opened) return say('refused', opened.problem);
  served = opened;
  say('serving');
}

async function stop(): Promise<void> {
  await starting;
  say('stopping');
  const closing = served?.close();
  served = undefined;
  await closing;
  say('stopped');
}

process.on('message', (order: Order) => {
  if (order.order === 'start') starting = start(order.path, order.word);
  else void stop();
});
process.on('disconnect', () => process.exit());
