/** What the file holds that a process hands over, and what is checked of it. */
import { isDeepStrictEqual } from 'node:util';
import * as v from 'valibot';
import { announce } from '../keyring/state.ts';
import type { KeyDescription } from '../providers/provider.ts';

/** What is handed over; base64 stands for bytes. */
export type Content = {
  readonly kind: typeof KIND;
  readonly version: 1;
  /** What the configuration named: another key under the same file is not taken for this one. */
  readonly provider: readonly string[];
  readonly keyId: string;
  readonly description: KeyDescription;
  /** What the announced key has made of random bytes: who decrypts it reads what that key has encrypted. */
  readonly sample?: string;
  /** Since when the provider has been away, in milliseconds since the epoch; absent while it is there. */
  readonly awaySince?: number;
  /** Why writes were stopped at the end; absent where they were not. */
  readonly stopped?: 'lost' | 'refused';
  /** What the provider has made of the seeds that may become sources of local KEKs. */
  readonly sources: readonly string[];
  /** Of the last entries of the decrypt cache, which hold seeds of other nodes too. */
  readonly ciphertexts: readonly string[];
};

export const KIND = 'trousseau-announced-key';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const version = v.object({
  version: count,
  createdAt: v.number(),
  checkValue: v.optional(v.string()),
});
const base64 = v.pipe(v.string(), v.base64(), v.maxLength(4_096));
/** A later program may add fields: after a downgrade they are left out, and the key_id is known still. */
const schema = v.object({
  kind: v.literal(KIND),
  version: v.literal(1),
  sequence: v.optional(count, 0),
  /** Absent where an earlier version has written it. */
  socket: v.optional(v.string()),
  provider: v.array(v.string()),
  keyId: v.string(),
  description: v.object({
    path: v.pipe(v.array(v.string()), v.minLength(1)),
    versions: v.pipe(v.array(version), v.minLength(1)),
    current: version,
    minDecryptionVersion: count,
    facts: v.object({ type: v.string(), deletable: v.boolean(), exportable: v.boolean() }),
  }),
  sample: v.optional(base64),
  awaySince: v.optional(v.number()),
  stopped: v.optional(v.picklist(['lost', 'refused'])),
  sources: v.pipe(v.array(base64), v.maxLength(16)),
  ciphertexts: v.optional(v.pipe(v.array(base64), v.maxLength(128)), []),
});

/** What one place has, which several may have at a time. */
export type Written = {
  /** The newer one is the higher one. */
  readonly sequence: number;
  /** Which socket was served; undefined where an earlier version has written it. */
  readonly socket: string | undefined;
  readonly content: Content;
};

/**
 * Reads the text of a file.
 *
 * @throws a SyntaxError where it is not JSON, or an error that says in words what is wrong
 */
export function parseHandover(text: string): Written {
  const parsed = v.safeParse(schema, JSON.parse(text));
  if (!parsed.success) throw new Error('it is not of this form');
  const { sequence, socket, ...rest } = parsed.output;
  // As JSON has it, without fields that are undefined, so that it compares equal to what was written.
  const content = JSON.parse(JSON.stringify(rest)) as Content;
  const { versions, current } = content.description;
  const isWhole = versions.some((one) => isDeepStrictEqual(one, current));
  if (!isWhole || announce(content.description).keyId !== content.keyId)
    throw new Error('its key_id is not the one of its description');
  return { sequence, socket, content };
}

/** The text of a file. */
export function formatHandover({ sequence, socket, content }: Written): string {
  return `${JSON.stringify({ ...content, socket, sequence })}\n`;
}
