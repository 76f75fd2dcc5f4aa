import type { Lane } from './batcher.ts';

/** What a plaintext is for. */
export type Purpose =
  /** Of KMS v2, one for each start of kube-apiserver, and much hangs on it; stored with annotations. */
  | 'seed'
  /** Of KMS v1, one for each object. */
  | 'dek'
  /** The health check of KMS v1, which nobody stores. */
  | 'ping'
  /** A trial or a measurement; as a seed, but nobody stores it, and it is about the provider. */
  | 'sample';

/**
 * Where a call waits that is made for this: kube-apiserver does not start without its seed, and is
 * restarted up to Kubernetes 1.28 where the health check fails.
 */
export const LANE_OF: Readonly<Record<Purpose, Lane>> = {
  seed: 'urgent',
  dek: 'ordinary',
  ping: 'urgent',
  sample: 'ordinary',
};
