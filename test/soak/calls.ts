/** The calls of the load, each with what its answer must be. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type ServiceError, status } from '@grpc/grpc-js';
import type { KmsClient } from '../../src/kms/client.ts';
import type { Tally } from './tally.ts';

/** What was encrypted, to be decrypted by either API later. */
export type Sealed = {
  readonly plaintext: Buffer;
  readonly ciphertext: Uint8Array;
  readonly key_id: string;
};

export type Calls = {
  /** Makes the n-th call of the mix. */
  make(n: number): Promise<void>;
  /** The newest version that Status has announced. */
  announced(): number;
  /** Decrypts what is remembered of every version of the key; resolves with how many versions. */
  decryptEveryVersion(): Promise<number>;
  any(n: number): Sealed | undefined;
  /** A Status call that is measured. */
  probe(): Promise<void>;
};

const SEED_BYTES = 32;
const REMEMBERED = 512;
const NO_ANNOTATIONS: ReadonlyMap<string, Uint8Array> = new Map();

/** The mix of twenty: a cluster reads more than it writes. */
const MIX = [
  ...['v2 decrypt', 'v1 decrypt', 'v2 encrypt', 'v2 decrypt', 'status'],
  ...['v1 decrypt', 'v2 decrypt', 'v1 encrypt', 'v2 decrypt', 'invalid'],
  ...['v2 decrypt', 'v1 decrypt', 'v2 encrypt', 'v2 decrypt', 'status'],
  ...['v1 decrypt', 'v2 decrypt', 'v1 encrypt', 'v2 decrypt', 'v1 decrypt'],
] as const;

/** Calls on one client. */
export function createCalls(client: KmsClient, tally: Tally): Calls {
  const recent: Sealed[] = [];
  const byVersion = new Map<number, Sealed>();
  let announced = 0;
  let invalid = 0;

  const remember = (sealed: Sealed): void => {
    const version = versionOf(sealed.ciphertext);
    if (!byVersion.has(version)) byVersion.set(version, sealed);
    if (recent.length < REMEMBERED) recent.push(sealed);
    else recent[Math.floor(Math.random() * REMEMBERED)] = sealed;
  };
  const any = (n: number): Sealed | undefined => recent[(n * 7919) % recent.length];
  const operations: Readonly<Record<(typeof MIX)[number], (n: number) => Promise<void>>> = {
    async 'v2 encrypt'(n) {
      const [plaintext, atLeast] = [randomBytes(SEED_BYTES), announced];
      const { ciphertext, key_id } = await client.v2.encrypt(plaintext, `soak-${n}`);
      assert.equal(
        versionOf(Buffer.from(key_id)),
        versionOf(ciphertext),
        'key_id of another version',
      );
      assert.ok(versionOf(ciphertext) >= atLeast, 'an older version than Status had announced');
      remember({ plaintext, ciphertext, key_id });
    },
    async 'v1 encrypt'() {
      const [plaintext, atLeast] = [randomBytes(SEED_BYTES), announced];
      const { cipher } = await client.v1.encrypt(plaintext);
      assert.ok(versionOf(cipher) >= atLeast, 'an older version than Status had announced');
      remember({ plaintext, ciphertext: cipher, key_id: 'soak' });
    },
    async 'v2 decrypt'(n) {
      const sealed = any(n);
      if (sealed !== undefined) await decryptV2(client, sealed);
    },
    async 'v1 decrypt'(n) {
      const sealed = any(n);
      if (sealed === undefined) return;
      same((await client.v1.decrypt(sealed.ciphertext)).plain, sealed);
    },
    async status() {
      const { healthz, key_id } = await client.v2.status();
      if (!tally.isOutage()) announced = Math.max(announced, versionOf(Buffer.from(key_id)));
      assert.ok(key_id !== '', 'Status without a key_id');
      assert.ok(healthz === 'ok' || tally.isOutage(), `healthz: ${healthz}`);
    },
    async invalid(n) {
      invalid += 1;
      const sealed = any(n);
      if (sealed !== undefined) await refused(client, spoiled(sealed, invalid));
    },
  };
  return {
    async make(n) {
      const what = MIX[n % MIX.length] ?? 'status';
      await tally.run(what, () => operations[what](n));
    },
    announced: () => announced,
    async decryptEveryVersion() {
      for (const [version, sealed] of byVersion)
        await tally.run(`decrypt of version ${version}`, () => decryptV2(client, sealed));
      return byVersion.size;
    },
    any,
    probe: () =>
      tally.run('status', async () => {
        const began = performance.now();
        await client.v2.status();
        tally.recordStatus(performance.now() - began);
      }),
  };
}

async function decryptV2(client: KmsClient, sealed: Sealed): Promise<void> {
  const { ciphertext, key_id } = sealed;
  const request = { ciphertext, key_id, uid: 'soak', annotations: NO_ANNOTATIONS };
  same((await client.v2.decrypt(request)).plaintext, sealed);
}

/** Not assert.deepEqual: its message would show both. */
function same(plaintext: Uint8Array, sealed: Sealed): void {
  assert.ok(Buffer.compare(plaintext, sealed.plaintext) === 0, 'WRONG ANSWER: another plaintext');
}

type Spoiled = { readonly how: string; readonly ciphertext: Uint8Array; readonly key_id: string };

function spoiled({ ciphertext, key_id }: Sealed, turn: number): Spoiled {
  const text = Buffer.from(ciphertext).toString();
  const start = text.lastIndexOf(':') + 1;
  const other = text[start + 8] === 'A' ? 'B' : 'A';
  const ways: readonly Spoiled[] = [
    {
      how: 'one character is another',
      ciphertext: Buffer.from(`${text.slice(0, start + 8)}${other}${text.slice(start + 9)}`),
      key_id,
    },
    { how: 'cut off', ciphertext: ciphertext.subarray(0, start + 12), key_id },
    { how: 'of no form', ciphertext: randomBytes(64), key_id },
    { how: 'empty', ciphertext: new Uint8Array(), key_id },
    { how: 'without a key_id', ciphertext, key_id: '' },
    {
      how: 'of a version that is not there',
      ciphertext: Buffer.from(`vault:v9999:${text.slice(start)}`),
      key_id,
    },
  ];
  const [first] = ways;
  const way = ways[turn % ways.length] ?? first;
  assert.ok(way !== undefined);
  return way;
}

async function refused(client: KmsClient, { how, ciphertext, key_id }: Spoiled): Promise<void> {
  try {
    await client.v2.decrypt({ ciphertext, key_id, uid: 'soak', annotations: NO_ANNOTATIONS });
  } catch (error) {
    if ((error as ServiceError).code === status.INVALID_ARGUMENT) return;
    throw error;
  }
  throw new Error(`WRONG ANSWER: a ciphertext ${how} was decrypted`);
}

/** The N of `vault:vN:`, in ciphertexts and in key_ids. */
function versionOf(text: Uint8Array): number {
  const version = /^vault:v(\d+):/.exec(Buffer.from(text.subarray(0, 32)).toString('latin1'))?.[1];
  assert.ok(version !== undefined, 'it names no version of a Vault key');
  return Number(version);
}
