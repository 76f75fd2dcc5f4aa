/**
 * A wire tap between the plugin and a real Vault: passes every request on as it is, and remembers
 * what its headers were. Changes nothing, so it stands for nothing but the wire.
 */
import { type Forwarding, startForwarding } from './forwarding.ts';

export type RecordedRequest = {
  readonly method: string;
  readonly path: string;
  readonly namespace: string | undefined;
};

export type RecordingProxy = Forwarding & { readonly requests: readonly RecordedRequest[] };

export async function startRecordingProxy(target: string): Promise<RecordingProxy> {
  const requests: RecordedRequest[] = [];
  const forwarding = await startForwarding(target, {
    asked({ method = '', url = '', headers }) {
      const namespace = headers['x-vault-namespace'];
      requests.push({ method, path: url, namespace: namespace?.toString() });
    },
  });
  return { ...forwarding, requests };
}
