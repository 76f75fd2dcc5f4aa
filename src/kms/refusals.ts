/** What clients are refused, as log lines of which a client that repeats itself cannot make many. */
import type { Log } from '../observe/log.ts';
import type { Clock } from '../system/clock.ts';

/** Each is a row of the limits table, or something that grpc-js had to say. */
export type Refusal =
  | 'connections'
  | 'descriptors'
  | 'calls'
  | 'streams'
  | 'bytes'
  | 'pieces'
  | 'late'
  | 'unread'
  | 'unended'
  | 'encoding'
  | 'library';

export type OnRefusal = (refusal: Refusal) => void;

const SENTENCES: Readonly<Record<Refusal, string>> = {
  connections: 'too many connections: one without a call was closed',
  descriptors:
    'nearly every file descriptor is in use, and beyond them connections are closed unseen: raise LimitNOFILE= of the unit, or end clients that connect again and again',
  calls: 'too many calls at once: some were refused',
  streams: 'connections were ended: their client opens more streams than it was allowed',
  bytes: 'too many bytes of messages at once: some calls were refused',
  pieces: 'calls were reset: their message came in too many pieces, or was more than one',
  late: 'calls were reset: their message did not come in time',
  unread: 'connections were closed: their client does not read its answers',
  unended: 'calls were reset: their client did not end its request',
  encoding: 'calls with a compressed message were refused',
  library: 'the gRPC library reported a problem',
};

/** One line of each kind in so much time, with how often it has been since the last. */
const EVERY_MS = 60_000;

/** Counts refusals; nothing of what a client has sent goes into a line. */
export function createRefusals(log: Log, clock: Clock): OnRefusal {
  const counted = new Map<Refusal, { times: number; loggedAt: number }>();
  return (refusal) => {
    const now = clock.now();
    const count = counted.get(refusal) ?? { times: 0, loggedAt: Number.NEGATIVE_INFINITY };
    counted.set(refusal, count);
    count.times += 1;
    if (now - count.loggedAt < EVERY_MS) return;
    log.warn?.(SENTENCES[refusal], { times: count.times });
    count.times = 0;
    count.loggedAt = now;
  };
}
