/**
 * Bytes that are kept until something is whole, in one buffer of their own: a view of what was read
 * would keep all of it in memory, and joining the pieces at each byte would take the square of the time.
 */

export type ByteStore = {
  readonly length: number;
  /** Copies the bytes behind those that are there. */
  append(bytes: Uint8Array): void;
  /** Everything that was appended; the store is empty then, and keeps nothing of it. */
  take(): Buffer;
};

const NOTHING: Buffer = Buffer.alloc(0);
const FIRST_CAPACITY = 256;

/** An empty store; it takes no memory before the first byte. */
export function createByteStore(): ByteStore {
  let buffer = NOTHING;
  let length = 0;
  return {
    get length() {
      return length;
    },
    append(bytes) {
      const total = length + bytes.length;
      if (total > buffer.length) {
        // Not from the pool that Node shares out, which one byte of it keeps whole.
        const larger = Buffer.allocUnsafeSlow(Math.max(total, 2 * buffer.length, FIRST_CAPACITY));
        buffer.copy(larger, 0, 0, length);
        buffer = larger;
      }
      buffer.set(bytes, length);
      length = total;
    },
    take() {
      const bytes = length === 0 ? NOTHING : buffer.subarray(0, length);
      buffer = NOTHING;
      length = 0;
      return bytes;
    },
  };
}
