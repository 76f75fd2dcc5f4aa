/** Sockets as the tests of listening make them and call them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { lstatSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';

/** Makes servers that answer every connection with the word. */
export function answering(word: string): () => Server {
  return () =>
    createServer((socket) => {
      // A probe goes away before it is served.
      socket.on('error', () => socket.destroy());
      socket.end(word);
    });
}

/** What is answered at the path. */
export function answerOf(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    connect(path)
      .on('data', (data) => {
        text += data.toString();
      })
      .on('end', () => resolve(text))
      .on('error', reject)
      // Also where a process that was killed had it in its queue.
      .on('close', () => resolve(text));
  });
}

/** Leaves the socket of a process that was killed: bound, and nobody listens. */
export function leaveStaleSocket(path: string): void {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  assert.ok(lstatSync(path).isSocket());
}
