/**
 * What is known of the key that encrypts, and how each look at the provider changes it. Pure: the
 * watcher feeds it, Status and the health endpoints read it.
 */
import type { ProviderError, ProviderErrorKind, Result } from '../providers/errors.ts';
import type { KeyDescription } from '../providers/provider.ts';
import { type KeyId, keyId } from './key-id.ts';

/** The key version that Status announces and Encrypt uses. */
export type AnnouncedKey = {
  readonly keyId: KeyId;
  readonly version: number;
  readonly description: KeyDescription;
};

/** Times are milliseconds since the epoch. */
export type KeyringState =
  /** The provider has not answered yet. */
  | { readonly kind: 'starting'; readonly since: number; readonly why: ProviderError | undefined }
  | { readonly kind: 'ready'; readonly key: AnnouncedKey }
  /** A transient outage: the key is known and nobody has said that it must not be used. */
  | {
      readonly kind: 'outage';
      readonly key: AnnouncedKey;
      readonly since: number;
      readonly why: ProviderError;
    }
  /** Definitive: the provider refuses, or the key is gone. */
  | {
      readonly kind: 'refused';
      readonly key: AnnouncedKey | undefined;
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
  return state.kind === 'starting' ? undefined : state.key;
}

/** The state after one look at the provider. */
export function nextState(
  state: KeyringState,
  seen: Result<AnnouncedKey>,
  now: number,
): KeyringState {
  if (seen.ok) return { kind: 'ready', key: seen.value };
  const why = seen.error;
  if (!isTransient(why.kind)) {
    const since = state.kind === 'refused' ? state.since : now;
    return { kind: 'refused', key: knownKey(state), since, why };
  }
  switch (state.kind) {
    case 'starting':
      return { ...state, why };
    case 'ready':
      return { kind: 'outage', key: state.key, since: now, why };
    case 'outage':
      return { ...state, why };
    // Being unreachable does not take back what the provider said before.
    case 'refused':
      return state;
  }
}

/**
 * Whether a description can only be an older view of a key that was already announced at a newer
 * version: a standby that lags behind, or a key restored from a backup.
 */
export function isOlderView(description: KeyDescription, announced: AnnouncedKey): boolean {
  if (description.current.version >= announced.version) return false;
  const known = new Map(announced.description.versions.map((v) => [v.version, v.createdAt]));
  return description.versions.every((v) => known.get(v.version) === v.createdAt);
}
