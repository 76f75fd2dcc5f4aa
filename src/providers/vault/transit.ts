/**
 * The Transit engine: encrypt, decrypt and read of one key, always as batches.
 * https://developer.hashicorp.com/vault/api-docs/secret/transit
 */
import type { VaultConfig } from '../../config/schema.ts';
import { CANONICAL_BASE64, ciphertextForm } from '../ciphertext.ts';
import { fail, type Result, succeed } from '../errors.ts';
import type { KeyDescription } from '../provider.ts';
import type { VaultClient } from './client.ts';
import { itemErrorOf, KEY_IS_GONE } from './errors.ts';
import { AEAD_12_16, describeKey } from './key.ts';
import type { VaultAnswer } from './reply.ts';

export type Transit = {
  describe(signal: AbortSignal): Promise<Result<KeyDescription>>;
  encrypt(
    plaintexts: readonly Uint8Array[],
    version: number,
    signal: AbortSignal,
  ): Promise<readonly Result<Uint8Array>[]>;
  decrypt(
    ciphertexts: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<readonly Result<Uint8Array>[]>;
  /** See {@link Provider.mayDecrypt}. One request, which Vault's audit log has as one that failed. */
  mayDecrypt(signal: AbortSignal): Promise<Result<void>>;
};

type Place = Pick<VaultConfig, 'namespace' | 'mount' | 'key'>;
type Operation = {
  readonly name: 'encrypt' | 'decrypt';
  readonly what: string;
  readonly answerField: 'ciphertext' | 'plaintext';
  readonly hedge: boolean;
};

const ENCRYPT: Operation = {
  name: 'encrypt',
  what: 'encrypting',
  answerField: 'ciphertext',
  hedge: false,
};
const DECRYPT: Operation = {
  name: 'decrypt',
  what: 'decrypting',
  answerField: 'plaintext',
  hedge: true,
};

/** `vault:v<version>:<base64 of nonce, sealed bytes and tag>` */
export const transitForm = ciphertextForm('vault');

/** What AES-GCM and ChaCha20-Poly1305 add to a plaintext: a nonce of 12 and a tag of 16 bytes. */
const AEAD_OVERHEAD = 28;
/** What any type adds: AES-CBC an initialisation vector of 16 bytes, and one of padding. */
const LEAST_OVERHEAD = 17;

/** The key of this name under this mount. */
export function createTransit(client: VaultClient, place: Place): Transit {
  const { mount, key } = place;
  /** Whether what was encrypted is as long as its ciphertext, but for nonce and tag. */
  let exactLength = false;
  /** Why nothing may be encrypted with the key, by its last description. */
  let unfit: string | undefined;

  /** One request for all items; the results are in their order. */
  const send = async (
    operation: Operation,
    items: readonly string[],
    signal: AbortSignal,
    elsewhere = false,
  ): Promise<readonly Result<string>[]> => {
    const request = {
      method: 'POST',
      path: `${mount}/${operation.name}/${key}`,
      // Every part is base64 or a number: nothing in it needs to be escaped.
      body: `{"batch_input":[${items.join(',')}]}`,
      what: `${operation.what} with ${mount}/${key}`,
      holds: { field: operation.answerField, items: items.length },
      hedge: operation.hedge,
      elsewhere,
    } as const;
    const replied = await client.request(request, signal);
    if (!replied.ok) return items.map(() => replied);
    const reply = replied.value;
    if (reply.kind === 'answer') {
      const results = itemResults(request.what, operation.answerField, reply);
      return elsewhere ? results : await askOthers(operation, items, results, signal);
    }
    // 1.9.3 answers 500 for a whole batch over one damaged item: the others must not pay for it.
    if (items.length > 1 && reply.ofItem) {
      const half = items.length >> 1;
      // One after the other: the batch has one place among the requests under way, not many.
      const first = await send(operation, items.slice(0, half), signal, elsewhere);
      return [...first, ...(await send(operation, items.slice(half), signal, elsewhere))];
    }
    const results = items.map(() => reply.failure);
    return elsewhere ? results : await askOthers(operation, items, results, signal);
  };

  /** A server that does not know a version yet may be one of several, and the others know it. */
  const askOthers = async (
    operation: Operation,
    items: readonly string[],
    results: readonly Result<string>[],
    signal: AbortSignal,
  ): Promise<readonly Result<string>[]> => {
    if (!results.some(isBehind)) return results;
    const behind = items.filter((_item, i) => isBehind(results[i]));
    const others = (await send(operation, behind, signal, true))[Symbol.iterator]();
    return results.map((result) => {
      if (!isBehind(result)) return result;
      const { value: other } = others.next();
      return other?.ok === true ? other : result;
    });
  };

  const decrypt: Transit['decrypt'] = async (ciphertexts, signal) => {
    const results: Result<Uint8Array>[] = ciphertexts.map(() => NOT_WHOLE);
    const asked: { readonly at: number; readonly bytes: number; readonly item: string }[] = [];
    ciphertexts.forEach((ciphertext, at) => {
      const parsed = transitForm.parse(ciphertext);
      if (parsed === undefined || parsed.bytes <= AEAD_OVERHEAD) return;
      const { version, base64, bytes } = parsed;
      asked.push({ at, bytes, item: `{"ciphertext":"vault:v${version}:${base64}"}` });
    });
    if (asked.length === 0) return results;
    const answers = await send(
      DECRYPT,
      asked.map(({ item }) => item),
      signal,
    );
    asked.forEach(({ at, bytes }, i) => {
      const answer = answers[i] ?? fail('internal', 'decrypting: an answer is missing');
      results[at] = answer.ok
        ? plaintextOf(
            answer.value,
            bytes - (exactLength ? AEAD_OVERHEAD : LEAST_OVERHEAD),
            exactLength,
          )
        : answer;
    });
    return results;
  };

  return {
    decrypt,

    async describe(signal) {
      const request = {
        method: 'GET',
        path: `${mount}/keys/${key}`,
        what: `reading the key ${mount}/${key}`,
        holds: 'data',
      } as const;
      const replied = await client.request(request, signal);
      if (!replied.ok) return replied;
      const reply = replied.value;
      if (reply.kind === 'refusal') {
        // A missing key is 404 without a word, a missing mount 404 with "no handler for route".
        return reply.status === NOT_FOUND && reply.words === ''
          ? fail('denied', `${request.what}: ${KEY_IS_GONE}`)
          : reply.failure;
      }
      const described = describeKey(reply.body['data'], place);
      if (described.ok) {
        exactLength = AEAD_12_16.includes(described.value.facts.type);
        unfit = described.value.unfit;
      }
      return described;
    },

    async encrypt(plaintexts, version, signal) {
      if (unfit !== undefined) {
        const refused = fail('denied', unfit);
        return plaintexts.map(() => refused);
      }
      const items = plaintexts.map(
        (plaintext) => `{"plaintext":"${base64(plaintext)}","key_version":${version}}`,
      );
      const results = await send(ENCRYPT, items, signal);
      return results.map((result, i) =>
        result.ok ? checkedCiphertext(result.value, version, plaintexts[i]?.length ?? 0) : result,
      );
    },

    async mayDecrypt(signal) {
      const [answer] = await decrypt([OF_NO_KEY], signal);
      if (answer === undefined) return fail('internal', 'decrypting: an answer is missing');
      if (answer.ok) {
        answer.value.fill(0);
        return PERMITTED;
      }
      const { kind, retired } = answer.error;
      // What Vault finds wrong with the ciphertext, it finds after its policy has let the request pass.
      return kind === 'invalid' || kind === 'behind' || retired === true ? PERMITTED : answer;
    },
  };
}

function isBehind(result: Result<string> | undefined): boolean {
  return result?.ok === false && result.error.kind === 'behind';
}

const NOT_FOUND = 404;

/**
 * Of the right form, and made by no key. Seen on 1.9.3 and 1.21.1: `message authentication failed`, or
 * `too old` where min_decryption_version is above 1, also after the first version was trimmed away.
 */
const OF_NO_KEY = Buffer.from(`vault:v1:${Buffer.alloc(64).toString('base64')}`, 'latin1');
const PERMITTED = succeed(undefined);

const NOT_WHOLE = fail(
  'invalid',
  'the ciphertext is not whole: it is not vault:v<version>:<base64>, or too short for what it must hold',
);

/** The results of the items in their order, of an answer that holds one for each. */
function itemResults(
  what: string,
  field: Operation['answerField'],
  { status, body }: VaultAnswer,
): readonly Result<string>[] {
  const { batch_results } = body['data'] as { batch_results: readonly Record<string, unknown>[] };
  return batch_results.map(({ error, [field]: value }): Result<string> => {
    if (typeof error === 'string' && error !== '') return itemErrorOf(what, error, status);
    if (typeof value === 'string') return succeed(value);
    throw new Error('an answer was let through with a result that is none');
  });
}

/** What fits neither the version nor the length that was asked for is an error, never an answer. */
function checkedCiphertext(
  text: string,
  version: number,
  plaintextBytes: number,
): Result<Uint8Array> {
  const ciphertext = Buffer.from(text, 'latin1');
  const parsed = transitForm.parse(ciphertext);
  if (parsed === undefined)
    return fail('internal', 'encrypting: Vault answered something that is no ciphertext');
  if (parsed.version !== version) {
    return fail(
      'internal',
      `encrypting: Vault used version ${parsed.version} of the key, not ${version} as it was told`,
    );
  }
  if (parsed.bytes < plaintextBytes + AEAD_OVERHEAD) {
    return fail('internal', 'encrypting: Vault answered a ciphertext too short for the plaintext');
  }
  return succeed(ciphertext);
}

/** Node skips what is no base64: bytes made of a damaged answer must not pass for a plaintext. */
function plaintextOf(text: string, most: number, exact: boolean): Result<Uint8Array> {
  if (!CANONICAL_BASE64.test(text))
    return fail('internal', 'decrypting: Vault answered something that is no base64');
  const plaintext = Buffer.from(text, 'base64');
  if (exact ? plaintext.length === most : plaintext.length <= most) return succeed(plaintext);
  plaintext.fill(0);
  return fail('internal', 'decrypting: Vault answered a plaintext of another length');
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}
