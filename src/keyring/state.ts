/**
 * What is known of the key that encrypts, and how each look at the provider changes it. Pure: the
 * watcher feeds it, Status and the health endpoints read it.
 */
import type { ProviderError, ProviderErrorKind } from '../providers/errors.ts';
import type { KeyDescription } from '../providers/provider.ts';
import { type KeyId, keyId } from './key-id.ts';
import type { Succession } from './succession.ts';

/** The key version that Status announces and Encrypt uses. */
export type AnnouncedKey = {
  readonly keyId: KeyId;
  readonly version: number;
  readonly description: KeyDescription;
};

/** What is there in the place of the announced key, which is lost. */
export type Instead = {
  readonly key: AnnouncedKey;
  readonly how: Exclude<Succession, 'continues'>;
};

/** What one look at the provider has shown. */
export type Seen =
  | { readonly ok: true; readonly value: AnnouncedKey }
  | { readonly ok: false; readonly error: ProviderError; readonly loss?: Loss };

/** The announced key, which another process may have announced, and what is there in its place. */
export type Loss = { readonly key: AnnouncedKey; readonly instead: Instead };

/** Times are milliseconds since the epoch. */
export type KeyringState =
  /** The provider has not answered yet. The key is the one that the process before this announced. */
  | {
      readonly kind: 'starting';
      readonly key?: AnnouncedKey;
      readonly since: number;
      readonly why: ProviderError | undefined;
    }
  | { readonly kind: 'ready'; readonly key: AnnouncedKey }
  /** A transient outage: the key is known and nobody has said that it must not be used. */
  | {
      readonly kind: 'outage';
      readonly key: AnnouncedKey;
      readonly since: number;
      readonly why: ProviderError;
    }
  /**
   * The announced key is not there any more, and another version or key is. It stays so until the
   * announced one is back, or an operator has acknowledged the loss and another key takes its place.
   */
  | {
      readonly kind: 'lost';
      readonly key: AnnouncedKey;
      readonly instead: Instead;
      readonly wasReady: boolean;
      readonly since: number;
      readonly why: ProviderError;
    }
  /** Definitive: the provider refuses, or the key is gone. */
  | {
      readonly kind: 'refused';
      readonly key: AnnouncedKey | undefined;
      readonly wasReady: boolean;
      readonly since: number;
      readonly why: ProviderError;
    };

/**
 * Whether a failure may pass by itself. The two kinds of trouble must not be mixed up: a transient
 * one lets kube-apiserver write on with the seed in its memory, a definitive one makes it stop.
 */
export function isTransient(kind: ProviderErrorKind): boolean {
  switch (kind) {
    case 'unavailable':
    case 'throttled':
    case 'behind':
    case 'overloaded':
    case 'internal':
      return true;
    case 'unauthenticated':
    case 'denied':
    case 'invalid':
      return false;
  }
}

/** The key that a description announces. */
export function announce(description: KeyDescription): AnnouncedKey {
  const { path, current } = description;
  return { keyId: keyId(path, current), version: current.version, description };
}

/** The key that a state still stands for, if any. */
export function knownKey(state: KeyringState): AnnouncedKey | undefined {
  return state.key;
}

/** The version below which policy lets nothing be decrypted any more, where that is new. */
export function raisedMinimum(before: KeyringState, after: KeyringState): number | undefined {
  const was = knownKey(before)?.description.minDecryptionVersion;
  const is = knownKey(after)?.description.minDecryptionVersion;
  return was !== undefined && is !== undefined && is > was ? is : undefined;
}

/**
 * Whether this process has used its key: a key that the process before it has announced shows nothing
 * of the configuration that this one has.
 */
export function hasBeenReady(state: KeyringState): boolean {
  switch (state.kind) {
    case 'starting':
      return false;
    case 'ready':
    case 'outage':
      return true;
    case 'lost':
    case 'refused':
      return state.wasReady;
  }
}

/** The state after one look at the provider. */
export function nextState(state: KeyringState, seen: Seen, now: number): KeyringState {
  if (seen.ok) return { kind: 'ready', key: seen.value };
  const { error: why, loss } = seen;
  const key = knownKey(state);
  const wasReady = hasBeenReady(state);
  if (loss !== undefined) {
    const since = state.kind === 'lost' ? state.since : now;
    return { kind: 'lost', ...loss, wasReady, since, why };
  }
  if (!isTransient(why.kind)) {
    const since = state.kind === 'refused' ? state.since : now;
    return { kind: 'refused', key, wasReady, since, why };
  }
  switch (state.kind) {
    case 'starting':
      return { ...state, why };
    case 'ready':
      return { kind: 'outage', key: state.key, since: now, why };
    case 'outage':
      // That the announced version is missing is not taken back by what cannot be asked any more.
      return state.why.kind === 'behind' && why.kind !== 'behind' ? state : { ...state, why };
    // Being unreachable does not take back what the provider said before.
    case 'lost':
    case 'refused':
      return state;
  }
}
