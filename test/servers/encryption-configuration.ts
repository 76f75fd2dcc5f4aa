/** The file that tells kube-apiserver, and Kubernetes' own clients, which plugin to use. */
import { writeFileSync } from 'node:fs';

/** One entry of `providers`. */
export type EncryptionProvider =
  | { readonly kms: KmsProvider }
  | { readonly identity: Readonly<Record<string, never>> };

export type KmsProvider = {
  /** Kubernetes up to 1.24 has v1 alone, and passes over the field. */
  readonly apiVersion?: 'v1' | 'v2';
  readonly name: string;
  /** `unix:///path` */
  readonly endpoint: string;
  /** As Go writes durations; default 3s. */
  readonly timeout?: string;
  /** v1 alone: decrypted data keys that are remembered, default 1000; at least 1, or -1 for none. */
  readonly cachesize?: number;
};

export const IDENTITY: EncryptionProvider = { identity: {} };

/** An entry for a plugin's socket. */
export function kmsProvider(
  api: 'v1' | 'v2',
  socket: string,
  more: Partial<KmsProvider> = {},
): EncryptionProvider {
  return { kms: { apiVersion: api, name: 'trousseau', endpoint: `unix://${socket}`, ...more } };
}

/** Writes the file for Secrets: the first provider writes, all of them read. */
export function writeEncryptionConfiguration(
  file: string,
  providers: readonly EncryptionProvider[],
): void {
  const configuration = {
    apiVersion: 'apiserver.config.k8s.io/v1',
    kind: 'EncryptionConfiguration',
    resources: [{ resources: ['secrets'], providers }],
  };
  writeFileSync(file, JSON.stringify(configuration, undefined, 2)); // JSON is YAML
}
