/** Callers that go on while the plugin is killed under them, as kube-apiserver does. */
import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { createKmsClient, type KmsClient } from '../../src/kms/client.ts';

export type Callers = AsyncDisposable & {
  /** Resolves when so many more calls were answered. */
  more(count: number): Promise<void>;
  /** Ends them; what was lost, and how many calls had to be made twice. */
  stop(): Promise<{ answered: number; cutOff: number; lost: readonly string[] }>;
};

const SEED = Buffer.alloc(32, 0x5e);
const CALL_LIMIT_MS = 10_000;

/**
 * Keeps so many calls under way. A call that was being worked on when its process was killed ends
 * with UNAVAILABLE, whoever holds the socket; it is made once more, and is lost where that fails.
 */
export function startCallers(socket: string, callers: number): Callers {
  const client = createKmsClient(socket, CALL_LIMIT_MS);
  const lost: string[] = [];
  const waiting = new Set<{ readonly at: number; readonly reached: () => void }>();
  let [answered, cutOff, stopping] = [0, 0, false];

  const twice = async <T>(call: () => Promise<T>): Promise<T> => {
    try {
      return await call();
    } catch (error) {
      if ((error as { readonly code?: number }).code !== status.UNAVAILABLE) throw error;
      // Nobody there would mean that the socket was gone for a moment.
      assert.doesNotMatch(String(error), /ECONNREFUSED|ENOENT/);
      cutOff += 1;
      return await call();
    } finally {
      answered += 1;
      for (const one of waiting) if (answered >= one.at) one.reached();
    }
  };
  const turn = async ({ v1, v2 }: KmsClient, uid: string): Promise<void> => {
    const sealed = await twice(() => v2.encrypt(SEED, uid));
    const { plaintext } = await twice(() => v2.decrypt({ ...sealed, uid }));
    assert.deepEqual(Buffer.from(plaintext), SEED);
    const { cipher } = await twice(() => v1.encrypt(SEED));
    assert.deepEqual(Buffer.from((await twice(() => v1.decrypt(cipher))).plain), SEED);
  };
  const caller = async (name: number): Promise<void> => {
    for (let i = 0; !stopping; i += 1) {
      await turn(client, `${name}-${i}`).catch((error: unknown) => lost.push(String(error)));
    }
  };
  const calling = Promise.all(Array.from({ length: callers }, (_, i) => caller(i)));
  const stop = async (): ReturnType<Callers['stop']> => {
    stopping = true;
    await calling;
    client.close();
    return { answered, cutOff, lost };
  };
  return {
    more: (count) =>
      new Promise((resolve) => waiting.add({ at: answered + count, reached: resolve })),
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}
