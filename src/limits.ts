/**
 * Every bound on what clients can make the plugin keep or do, in one place. Bounds count what is kept
 * and what a piece costs; they hold for each connection and for the process. What a caller gets beyond
 * each, and how much memory they take together, is in docs/limits.md, which is made from these numbers.
 */
export const LIMITS = {
  /** Connections on the KMS socket that are open at once. */
  connections: 1_024,
  /** For the first call of a connection, before the HTTP/2 server takes it over undecided. */
  firstCallMs: 10_000,
  /** Of a header block that is not whole yet, before the first call or where it is rewritten. */
  headerBlockBytes: 16_384,
  /** That are read of a connection before it is handed to the HTTP/2 server. */
  readAheadBytes: 24 * 1024,
  /** Of the names and values of one call's headers, 32 more for each: RFC 9113, section 6.5.2. */
  headerListBytes: 16 * 1024,
  /** Of a call's path and authority, which are kept for as long as it lasts. */
  keptHeaderBytes: 1024,
  /** Headers of one call. */
  headerListPairs: 64,

  /** Calls of one connection that have not ended: SETTINGS_MAX_CONCURRENT_STREAMS. */
  callsPerConnection: 512,
  /** The same, of a client that does not keep to it, or that has read an answer before it is counted. */
  streamsPerConnection: 640,
  /** Streams beyond these that a connection may open before it is ended with GOAWAY. */
  refusedStreams: 256,
  /** The same, of one whose client does not read: for each, the RST_STREAM is kept. */
  refusedUnread: 64,
  /** Calls of all connections that have not ended; an answer that is not read belongs to one. */
  calls: 4_096,
  /**
   * Of these, places for connections that have few calls; and so many more, beyond these, for calls that
   * are answered from memory, of which a connection can have few there.
   */
  reservedCalls: 512,
  /** So many are few. */
  reservedCallsPerConnection: 16,
  /** Streams beyond these that are refused or reset and have not closed; none is read meanwhile. */
  endingStreams: 256,
  /** From a call's headers to its whole message. */
  messageMs: 10_000,
  /** From a call's headers to the end of its stream. */
  callMs: 60_000,

  /** Of one message of gRPC, either way. */
  messageBytes: 128 * 1024,
  /** Of all messages that wait for an answer, or for the rest of themselves. */
  messageBytesOfAll: 8 * 1024 * 1024,
  /** Of these, for connections that have few of them. */
  reservedBytes: 2 * 1024 * 1024,
  /** So many are few: kube-apiserver has a hundred calls at once, of a kilobyte. */
  reservedBytesPerConnection: 128 * 1024,
  /** DATA frames, and parts of them where they are read in parts, of one message. */
  messagePieces: 256,

  /**
   * Of all entries of the decrypt cache: 200 each for as many as there may be. A data key of 32 bytes
   * takes 160 with its ciphertext of Vault; KMS v1 has ciphertexts of up to 64 KiB.
   */
  cacheBytes: 20 * 1024 * 1024,
  /** Ciphertexts that the provider is asked for again in one request, so that they stay in the cache. */
  askedAgain: 128,
  /** Of these, seeds that may become sources of local KEKs; the others are handed to the next process. */
  seeds: 4,

  /** Frames that JavaScript handles in one turn of the event loop, beyond the read that reaches it. */
  framesPerTurn: 256,
  /** So many bytes of a message are as much work as one more frame. */
  frameBytes: 4 * 1024,
  /** Calls that are begun in one turn, beside those of connections that have few; and that are answered. */
  callsPerTurn: 64,
  /** So many frames are as much work as the beginning of a connection. */
  sessionFrames: 32,
  /** Bytes that a connection begins with, of one that is served at once: those of a call are fewer. */
  firstBytes: 4 * 1024,
  /** RST_STREAM frames of one connection at once, before it is ended with GOAWAY. */
  resetsAtOnce: 100_000,
  /** The same, each second for longer. */
  resetsPerSecond: 10_000,
  /** Of what nghttp2 and Node keep for one connection. */
  sessionMegabytes: 4,
} as const;

/** The heap that all of it fits into with a quarter to spare: `--max-old-space-size` of the executable. */
export const HEAP_MEGABYTES = 220;
