/** The rows of the limits table that count what is asked of a provider, and what is kept of its answers. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BATCH_LIMITS } from '../../src/keyring/batcher.ts';
import { MOST as MOST_REQUESTS } from '../../src/keyring/slots.ts';
import { createKmsClient } from '../../src/kms/client.ts';
import { LIMITS } from '../../src/limits.ts';
import { MAX_REPLY_BYTES } from '../../src/providers/vault/http.ts';
import type { FakeReply } from '../daemon/fake-vault.ts';
import { askAdmin } from '../daemon/program.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  callsOf,
  ciphertextOf,
  connections,
  DECRYPT,
  decryptOf,
  ENCRYPT,
  EXHAUSTED,
  encryptOf,
  endedOf,
  endsOf,
  KNOWN_ENDS,
  leave,
  OK,
  streams,
} from './clients.ts';
import { allEnded, assertEnds, type BoundRow, ENDS_MS } from './row.ts';

type Items = { readonly batch_input?: readonly { readonly ciphertext?: string }[] };

/** Notes how many requests of one direction are under way, and how many items one has. */
function counting(delayMs: number) {
  const most = { requests: 0, items: 0, bytes: 0 };
  const underWay = new Map<string, number>();
  return {
    most,
    async replyTo(path: string, body: unknown): Promise<FakeReply | undefined> {
      const { batch_input: items } = body as Items;
      if (items === undefined) return undefined;
      const now = (underWay.get(path) ?? 0) + 1;
      underWay.set(path, now);
      const bytes = items.reduce((sum, { ciphertext = '' }) => sum + ciphertext.length, 0);
      most.requests = Math.max(most.requests, now);
      most.items = Math.max(most.items, items.length);
      most.bytes = Math.max(most.bytes, bytes);
      if (delayMs > 0) await sleep(delayMs); // a Vault that is so far away
      underWay.set(path, (underWay.get(path) ?? 0) - 1);
      return undefined;
    },
  };
}

/** In Encrypt of KMS v2, whose places are fewer than those of all other calls. */
export const waitingCalls: BoundRow = {
  onVault: true,
  mayBeAway: true,
  async drive(plugin, times, vault) {
    void vault.hold();
    const count = (times * BATCH_LIMITS.calls.urgent) / 2;
    const all = await connections(plugin, 2 * Math.ceil(count / LIMITS.callsPerConnection));
    const ids = streams(Math.floor((2 * count) / all.length) - (times === 1 ? 8 : 0));
    for (const { socket } of all) {
      socket.write(callsOf(ids, ENCRYPT, () => encryptOf(), { 'grpc-timeout': '25S' }));
    }
    if (times > 1) {
      const wanted = all.length * ids.length - BATCH_LIMITS.calls.urgent;
      await waitUntil('calls that are refused', ENDS_MS, () => endedOf(all) >= wanted);
      assert.ok((endsOf(all).get(EXHAUSTED) ?? 0) >= BATCH_LIMITS.calls.urgent);
    }
    vault.release();
    await allEnded(all, all.length * ids.length);
    assertEnds(all, ...(times === 1 ? KNOWN_ENDS.filter((end) => end !== EXHAUSTED) : KNOWN_ENDS));
    await leave(all);
  },
};

const FAR_MS = 60;

export function requests(): BoundRow {
  const { most, replyTo } = counting(FAR_MS);
  return {
    onVault: true,
    replyTo,
    async drive(plugin, times) {
      const count = times * MOST_REQUESTS * BATCH_LIMITS.batch;
      const ids = streams(LIMITS.callsPerConnection);
      const all = await connections(plugin, count / ids.length);
      for (const [i, { socket }] of all.entries()) {
        socket.write(callsOf(ids, DECRYPT, (id) => decryptOf(`${times} ${i} ${id}`)));
      }
      await allEnded(all, count);
      assertEnds(all, OK, ...(times === 1 ? [] : [EXHAUSTED]));
      assert.ok(most.requests <= MOST_REQUESTS && most.items <= BATCH_LIMITS.batch);
      await leave(all);
    },
  };
}

const ANSWERS = 2;
/** Others are asked until this time has passed, for the next one may be shorter. */
const ANSWER_MS = 10_000;

/** Each has its items, and beside them what nobody asked for. */
export function answerOfVault(): BoundRow {
  let bytes = 0;
  return {
    onVault: true,
    mayBeAway: true,
    async replyTo(path, body) {
      const { batch_input: items } = body as Items;
      if (bytes === 0 || items === undefined || !path.startsWith('transit/decrypt/'))
        return undefined;
      const results = items.map(({ ciphertext = '' }) => {
        const sealed = Buffer.from(ciphertext.slice('vault:v1:'.length), 'base64');
        return { plaintext: sealed.subarray(12, -16).toString('base64') };
      });
      return {
        status: 200,
        body: { data: { batch_results: results }, warnings: ['x'.repeat(bytes - 1_000)] },
      };
    },
    async drive({ socket }, times) {
      bytes = times * MAX_REPLY_BYTES;
      const client = createKmsClient(socket, ANSWER_MS);
      for (let i = 0; i < ANSWERS; i += 1) {
        const asked = client.v1.decrypt(Buffer.from(ciphertextOf(`${times} ${i}`)));
        if (times === 1) await asked;
        else await assert.rejects(asked, /UNAVAILABLE|DEADLINE_EXCEEDED/);
      }
      client.close();
      bytes = 0;
    },
  };
}

const AT_ONCE = 16;
const LONG_PLAINTEXT = 48_000;
const ENTRIES = 1_000;

async function cached(socket: string): Promise<number> {
  const { body } = await askAdmin(join(socket, '../admin.sock'), '/readyz');
  return (body['decryptCache'] as { readonly entries: number }).entries;
}

async function decryptMany(
  socket: string,
  count: number,
  name: string,
  length = 32,
): Promise<void> {
  const client = createKmsClient(socket, 20_000);
  let left = count;
  const some = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const cipher = Buffer.from(ciphertextOf(`${name} ${left}`, length));
      const { plain } = await client.v1.decrypt(cipher);
      assert.equal(plain.length, length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  client.close();
}

/** Short ciphertexts until there are as many entries as may be, and long ones until these have as many bytes. */
export const cache: BoundRow = {
  onVault: true,
  config: { decryptCache: { maxEntries: ENTRIES } },
  async drive({ socket }, times) {
    await decryptMany(socket, times * ENTRIES, `short ${times}`);
    assert.equal(await cached(socket), ENTRIES);
    // Each has its ciphertext beside its plaintext.
    const each = LONG_PLAINTEXT + ciphertextOf('', LONG_PLAINTEXT).length;
    const fit = Math.floor(LIMITS.cacheBytes / each);
    await decryptMany(socket, times * fit, `long ${times}`, LONG_PLAINTEXT);
    assert.ok((await cached(socket)) <= ENTRIES);
  },
};

/** So short that a quarter of it has passed when the cache is full. */
const MAX_AGE = '1m';
const ASKED_MS = 120_000;

export function askedAgain(): BoundRow {
  const { most, replyTo } = counting(0);
  return {
    onVault: true,
    isLong: true,
    replyTo,
    config: { decryptCache: { maxEntries: 10 * LIMITS.askedAgain, maxAge: MAX_AGE } },
    async drive({ socket }, times) {
      await decryptMany(socket, times * LIMITS.askedAgain, `again ${times}`);
      most.items = 0;
      await waitUntil('the request that asks again', ASKED_MS, () => most.items > AT_ONCE);
      assert.ok(most.items <= LIMITS.askedAgain);
    },
  };
}
