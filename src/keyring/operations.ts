/** One try of each operation at the providers, in batches with whatever else is waiting. */

import { timingSafeEqual } from 'node:crypto';
import { writtenBy } from '../providers/ciphertext.ts';
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import { type Backoff, createBackoff, mayPass } from './backoff.ts';
import { type Batcher, createBatcher, type Lane, type Proof } from './batcher.ts';
import { firstGood } from './first-good.ts';
import type { KeyId } from './key-id.ts';
import type { AnnouncedKey } from './state.ts';

/** A fresh ciphertext and the key that made it. */
export type Encrypted = {
  readonly ciphertext: Uint8Array;
  readonly keyId: KeyId;
  readonly version: number;
  /** What has to be kept beside the ciphertext where it was made under a local KEK. */
  readonly localKek?: Uint8Array;
};

/** How much of a fresh ciphertext is proven before it is answered. */
export type Verification =
  /** Decrypted again and compared. */
  | 'decrypt'
  /** Prefix, version and length, which the provider checks of every reply. */
  | 'form';

export type Operations = {
  /** Encrypts under exactly this key. */
  encrypt(
    key: AnnouncedKey,
    plaintext: Uint8Array,
    verification: Verification,
    lane: Lane,
    signal: CallSignal,
  ): Promise<Result<Encrypted>>;
  /**
   * Whether the writer's key decrypts what it has encrypted before; `invalid` where it is another key
   * by now. Goes into one request with what is submitted in the same turn.
   */
  prove(ciphertext: Uint8Array, lane: Lane, signal: CallSignal): Promise<Result<void>>;
  /**
   * Asks the readers in their order, those that are away last, until one can decrypt it.
   *
   * @param among `available` leaves out those that are away
   */
  decrypt(
    ciphertext: Uint8Array,
    lane: Lane,
    signal: CallSignal,
    among?: 'all' | 'available',
  ): Promise<Result<Uint8Array>>;
  /** Which of the readers that may have made it, by its form, are known to answer. Asks nobody. */
  availability(ciphertext: Uint8Array): Availability;
  /** What somebody else has seen of a reader that only decrypts. */
  sawReader(reader: Provider, outcome: Result<void>): void;
  /** How many items wait for a free request. */
  queued(): number;
  /** Resolves when nothing is queued or under way; after it nothing is left behind. */
  idle(): Promise<void>;
  /** Ends what waits, and what is under way too if told so: it is asked elsewhere. */
  abandon(underWay: boolean): void;
  /** What somebody else has seen of the writer, and when it wants to be asked again. */
  readonly writer: Pick<Backoff, 'saw' | 'recovered' | 'askedUntil'>;
};

export type Availability = 'all' | 'some' | 'none';

export type OperationsOptions = {
  readonly writer: Provider;
  /** In the order in which they are asked; the writer is one of them. */
  readonly readers: readonly Provider[];
  readonly clock: Clock;
  /** What the announced key has encrypted before; undefined before it was tried out. */
  readonly sample: () => Uint8Array | undefined;
  /** Told of each request to the writer, item by item. */
  readonly sawWriter: (results: readonly Result<Uint8Array>[]) => void;
  /** The same of those that only decrypt. */
  readonly sawOther: (reader: Provider, results: readonly Result<Uint8Array>[]) => void;
  /** Whether the writer is known to be away. */
  readonly isWriterAway: () => boolean;
};

type Reader = { readonly batcher: Batcher; readonly backoff: Backoff };

/** What the providers can do, with one queue for each of them and each direction. */
export function createOperations(options: OperationsOptions): Operations {
  const { writer, readers, clock, sawWriter, sawOther, isWriterAway } = options;
  const decrypting = new Map(
    readers.map((reader): [Provider, Reader] => {
      const backoff = createBackoff(clock);
      const batcher = createBatcher({
        what: `decrypting with ${reader.name}`,
        send: (items, _group, signal) => reader.decrypt(items, signal),
        clock,
        backoff,
        saw: reader === writer ? sawWriter : (results) => sawOther(reader, results),
      });
      return [reader, { batcher, backoff }];
    }),
  );
  const ofWriter = decrypting.get(writer);
  if (ofWriter === undefined)
    throw new Error(`${writer.name} encrypts, but is not among those that decrypt`);
  const encrypting = createBatcher({
    what: `encrypting with ${writer.name}`,
    send: (items, version, signal) => writer.encrypt(items, version, signal),
    clock,
    backoff: ofWriter.backoff,
    saw: sawWriter,
  });
  const batchers = [encrypting, ...[...decrypting.values()].map(({ batcher }) => batcher)];
  const [only] = decrypting.size === 1 ? decrypting : [];

  const isAway = (reader: Provider, { backoff }: Reader): boolean =>
    reader === writer ? isWriterAway() : backoff.isAway();

  const decryptWith = (
    batcher: Batcher,
    ciphertext: Uint8Array,
    lane: Lane,
    signal: CallSignal,
  ): Promise<Result<Uint8Array>> =>
    batcher.submit(
      { bytes: ciphertext, group: 0, shareAs: nameOf(ciphertext), lane, proof: undefined },
      signal,
    );

  const failureOf: Proof['failure'] = (result) => {
    if (!result.ok)
      return result.error.kind === 'invalid' || result.error.kind === 'behind'
        ? fail('invalid', replaced(writer.name))
        : result;
    result.value.fill(0);
    return undefined;
  };
  let proof: Proof | undefined;
  /** The same object for each call with one sample, so that a request has it once. */
  const proofBy = (bytes: Uint8Array | undefined): Proof | undefined => {
    if (proof?.bytes !== bytes)
      proof = bytes === undefined ? undefined : { bytes, failure: failureOf };
    return proof;
  };

  return {
    async prove(ciphertext, lane, signal) {
      const item = { bytes: ciphertext, group: 0, shareAs: undefined, lane, proof: undefined };
      return failureOf(await ofWriter.batcher.submit(item, signal)) ?? succeed(undefined);
    },
    async encrypt(key, plaintext, verification, lane, signal) {
      const { version, keyId } = key;
      // Never shared: equal plaintexts must give different ciphertexts.
      const item = { bytes: plaintext, group: version, shareAs: undefined, lane, proof: undefined };
      const began = clock.now();
      const encrypted = await encrypting.submit(item, signal);
      const took = clock.now() - began;
      if (!encrypted.ok) return encrypted;
      if (verification === 'decrypt') {
        // A key that was made again under the same name has the same version, and encrypts all the same.
        const proof = proofBy(options.sample());
        const decrypted = await ofWriter.batcher.submit(
          { bytes: encrypted.value, group: 0, shareAs: undefined, lane, proof },
          signal,
        );
        if (!decrypted.ok && mayPass(decrypted.error) && signal.aborted)
          return fail('unavailable', tooSlow(writer.name, took));
        const verified = sameAs(plaintext, decrypted, writer.name);
        if (!verified.ok) return verified;
      }
      return succeed({ ciphertext: encrypted.value, keyId, version });
    },
    availability(ciphertext) {
      let areAllAvailable = true;
      for (const [reader, known] of decrypting) areAllAvailable &&= !isAway(reader, known);
      if (areAllAvailable) return 'all';
      let [available, away] = [0, 0];
      for (const [reader, known] of decrypting) {
        if (reader.versionOf(ciphertext) === undefined) continue;
        if (isAway(reader, known)) away += 1;
        else available += 1;
      }
      if (away === 0) return 'all';
      return available === 0 ? 'none' : 'some';
    },
    sawReader: (reader, outcome) => decrypting.get(reader)?.backoff.saw([outcome]),
    decrypt(ciphertext, lane, signal, among = 'all') {
      if (only !== undefined) {
        const [reader, { batcher }] = only;
        return reader.versionOf(ciphertext) === undefined
          ? Promise.resolve(fail('invalid', unknownForm(readers, ciphertext)))
          : decryptWith(batcher, ciphertext, lane, signal);
      }
      const able = [...decrypting]
        .filter(([reader]) => reader.versionOf(ciphertext) !== undefined)
        .filter(([reader, known]) => among === 'all' || !isAway(reader, known))
        // A reader that is down or in back-off would only delay the others.
        .sort(([, a], [, b]) => Number(isAskedLast(a)) - Number(isAskedLast(b)));
      if (able.length === 0 && among === 'available') return Promise.resolve(NONE_AVAILABLE);
      if (able.length === 0)
        return Promise.resolve(fail('invalid', unknownForm(readers, ciphertext)));
      const attempts = able.map(
        ([, { batcher }]) =>
          (within: CallSignal): Promise<Result<Uint8Array>> =>
            decryptWith(batcher, ciphertext, lane, within),
      );
      return firstGood(attempts, clock, signal);
    },
    queued: () => batchers.reduce((sum, batcher) => sum + batcher.queued(), 0),
    async idle() {
      await Promise.all(batchers.map((batcher) => batcher.idle()));
      for (const { backoff } of decrypting.values()) backoff.stop();
    },
    abandon(underWay) {
      for (const batcher of batchers) batcher.abandon(underWay);
    },
    writer: ofWriter.backoff,
  };
}

const NONE_AVAILABLE = fail('unavailable', 'each provider that may have made it is away');

function isAskedLast({ backoff }: Reader): boolean {
  return backoff.isAway() || backoff.holds();
}

/** An Encrypt of KMS v2 takes two requests: kube-apiserver waits 3 s for both unless told otherwise. */
function tooSlow(name: string, tookMs: number): string {
  return `${name} encrypted in ${Math.round(tookMs)} ms, and the caller's deadline passed before it had decrypted the same again, which proves the ciphertext: find out why ${name} is slow, or raise timeout of the kms provider in kube-apiserver's EncryptionConfiguration`;
}

function replaced(name: string): string {
  return `${name} does not decrypt any more what the announced key has encrypted: was the key deleted and made again under the same name?`;
}

/** Succeeds where exactly this plaintext came back; wipes what came back. */
export function sameAs(
  plaintext: Uint8Array,
  decrypted: Result<Uint8Array>,
  name: string,
): Result<void> {
  if (!decrypted.ok) return decrypted;
  const { value } = decrypted;
  const same = value.length === plaintext.length && timingSafeEqual(value, plaintext);
  value.fill(0);
  return same
    ? succeed(undefined)
    : fail('internal', `${name} decrypted a fresh ciphertext to something else`);
}

function nameOf({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, length).toString('latin1');
}

function unknownForm(readers: readonly Provider[], ciphertext: Uint8Array): string {
  const names = readers.map((reader) => reader.name).join(', ');
  const written = writtenBy(ciphertext);
  return written === undefined
    ? `the ciphertext is not of a form that a configured provider (${names}) writes; it is empty, cut, damaged, or another plugin's`
    : `a provider of the kind ${written.kind} has written the ciphertext, under version ${written.version} of its key, and none of this kind is configured (${names}): put that one back into providers, and keep it there until nothing in etcd was encrypted by it`;
}
