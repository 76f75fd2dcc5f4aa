/** Callers that never stop, of KMS v1 and v2 alike, and every failure of theirs. */
import assert from 'node:assert/strict';
import { createKmsClient, type KmsClient } from '../../src/kms/client.ts';
import { startCallers } from '../load/callers.ts';
import { inTime } from '../servers/wait-until.ts';

export type Load = {
  /** Resolves when so many more calls have been answered; rejects after a minute. */
  more(count: number): Promise<void>;
  /** Every key_id that Encrypt has answered. */
  readonly keyIds: ReadonlySet<string>;
  /** Ends it, and rejects with the first failure; answers how many calls were answered. */
  stop(): Promise<number>;
};

const SEED = Buffer.alloc(32, 0x5e);
const CALL_LIMIT_MS = 10_000;
const MORE_MS = 60_000;

/** Keeps so many calls under way, over a few connections. */
export function startLoad(socket: string, callers: number, connections = 8): Load {
  const clients = Array.from({ length: connections }, () => createKmsClient(socket, CALL_LIMIT_MS));
  const keyIds = new Set<string>();
  const waiting = new Set<{ readonly at: number; readonly reached: () => void }>();
  let answered = 0;
  const count = (): void => {
    answered += 1;
    for (const one of waiting) if (answered >= one.at) one.reached();
  };
  const turn = async ({ v1, v2 }: KmsClient, uid: string): Promise<void> => {
    const { cipher } = await v1.encrypt(SEED);
    count();
    const sealed = await v2.encrypt(SEED, uid);
    keyIds.add(sealed.key_id);
    count();
    assert.deepEqual(Buffer.from((await v1.decrypt(cipher)).plain), SEED);
    count();
    assert.deepEqual(Buffer.from((await v2.decrypt({ ...sealed, uid })).plaintext), SEED);
    count();
  };
  const turns = Array.from({ length: callers }, () => 0);
  const running = startCallers({ count: callers, pauseMs: 0 }, async (name) => {
    const client = clients[name % clients.length];
    assert.ok(client !== undefined);
    const i = turns[name] ?? 0;
    turns[name] = i + 1;
    await turn(client, `${name}-${i}`);
  });
  return {
    keyIds,
    async more(further) {
      const reached = new Promise<void>((resolve) => {
        const one = { at: answered + further, reached: resolve };
        waiting.add(one);
      });
      const either = Promise.race([reached, running.ended]);
      await inTime(`${further} more calls`, MORE_MS, either);
    },
    async stop() {
      try {
        await running.stop();
      } finally {
        for (const client of clients) client.close();
      }
      return answered;
    },
  };
}
