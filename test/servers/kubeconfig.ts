/** How kubectl and kubeadm come to a kube-apiserver of the tests. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { KubeApiserver } from './kube-apiserver.ts';

/** Writes the administrator's, with certificates and key in it, as kubeadm makes its admin.conf. */
export function writeKubeconfig(file: string, { address, caFile, admin }: KubeApiserver): void {
  const inline = (path: string): string => readFileSync(path).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'test', cluster: { server: address, 'certificate-authority-data': inline(caFile) } },
    ],
    users: [
      {
        name: 'admin',
        user: {
          'client-certificate-data': inline(admin.certFile),
          'client-key-data': inline(admin.keyFile),
        },
      },
    ],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 }); // JSON is YAML
}
