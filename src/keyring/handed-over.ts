/** What a keyring begins with that the process before it has left. */
import type { AnnouncedKey } from './state.ts';

/** What a keyring leaves to another one: no secret is in it. */
export type Left = {
  readonly key: AnnouncedKey;
  /** As `sources` of the keyring had them. */
  readonly sources: readonly Uint8Array[];
  /** As `ciphertexts` of the keyring had them. */
  readonly ciphertexts: readonly Uint8Array[];
};

/** What one process leaves to the one after it. */
export type HandedOver = Left & {
  /** Whether the provider that encrypts is configured to have this key still, wherever that is reached. */
  readonly isConfigured: boolean;
  /** What the key has made of a sample; undefined where that is not known. */
  readonly sample: Uint8Array | undefined;
  /** Since when the provider was away, in milliseconds since the epoch; undefined where it was not. */
  readonly awaySince: number | undefined;
  /** Why it had stopped writes under the key: then Status does not announce it before the provider shows it. */
  readonly stopped: 'lost' | 'refused' | undefined;
};

/**
 * When the outage began that a process starts in. A clock that was set to another time since then tells
 * nothing, and to stop writes by it would be worse than to allow them for longer.
 */
export function beginOf(awaySince: number | undefined, now: number): number {
  const isCredible = awaySince !== undefined && awaySince <= now && now - awaySince <= MOST_AWAY_MS;
  return isCredible ? awaySince : now;
}

const MOST_AWAY_MS = 7 * 24 * 60 * 60_000;
