import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keyId } from '../../../src/keyring/key-id.ts';
import { statusMethod } from '../../../src/kms/v2.ts';
import { LIMITS } from '../../../src/limits.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
} from '../../fuzz/raw-connection.ts';
import { waitUntil } from '../../servers/wait-until.ts';
import { serving } from './serving.ts';

const STATUS = '/v2.KeyManagementService/Status';
const WHOLE = prefixed(Buffer.alloc(0));
const KEY_ID = keyId(['fake', 'key'], { version: 1, createdAt: 0 });

describe('calls that wait for their turn', () => {
  for (const authority of ['localhost', '/run/kms.sock']) {
    it(`are dropped when their client has closed its connection: ${authority}`, async (t) => {
      let begun = 0;
      let first = (): void => undefined;
      const status = statusMethod(() => {
        begun += 1;
        first();
        return { ok: true, value: { healthz: 'ok', keyId: KEY_ID } };
      });
      const { kms, path } = await serving(t, status);
      const one = await openConnection(path);
      const headers = createHeaderWriter(authority, false);
      const call = (id: number): Buffer[] => [headers.headers(id, STATUS), lastData(id, WHOLE)];
      one.socket.write(Buffer.concat([OPENING, ...call(1)]));
      await one.until(() => one.ends.has(1));
      assert.equal(one.ends.get(1), 'grpc-status 0');
      const ids = Array.from({ length: LIMITS.callsPerConnection - 1 }, (_, i) => 2 * i + 3);
      first = () => void one.socket.destroy();
      one.socket.write(Buffer.concat(ids.flatMap(call)));
      await waitUntil('the end of every call', 10_000, () => {
        const { open, calls } = kms.open();
        return open + calls === 0;
      });
      // Those of the turns in which it closes, and finds that it has.
      assert.ok(begun < 5 * LIMITS.callsPerTurn, `${begun} calls`);
    });
  }
});
