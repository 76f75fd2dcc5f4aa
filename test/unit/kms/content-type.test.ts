import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LIMITS } from '../../../src/limits.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
} from '../../fuzz/raw-connection.ts';
import { serveKms } from './kms-under-test.ts';

for (const type of ['text/plain', `text/${'x'.repeat(LIMITS.keptHeaderBytes)}`]) {
  it(`a call of type ${type.slice(0, 12)}, ${type.length} characters long, is answered 415`, async (t) => {
    const { socket } = await serveKms(t);
    const one = await openConnection(socket);
    t.after(() => one.socket.destroy());
    const headers = createHeaderWriter('localhost', false);
    const path = '/v2.KeyManagementService/Status';
    one.socket.write(
      Buffer.concat([
        OPENING,
        headers.headers(1, path, { 'content-type': type }),
        lastData(1, prefixed(Buffer.alloc(0))),
      ]),
    );
    await one.until(() => one.ends.has(1));
    assert.equal(one.ends.get(1), 'HTTP 415');
  });
}
