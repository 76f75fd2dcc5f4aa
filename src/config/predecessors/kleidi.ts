/**
 * kleidi: a JSON file, its field names in any case.
 * https://github.com/beezy-dev/kleidi/blob/main/internal/providers/hvault.go
 */
import { type Converted, converted, given, lowered, SECRET_FILES, textOf } from './converted.ts';

export function fromKleidi(data: unknown): Converted | undefined {
  const fields = lowered(data);
  if (textOf(fields, 'transitkey') === undefined || fields['apiversion'] !== undefined)
    return undefined;
  const field = (name: string): string | undefined => textOf(fields, name);
  const { clientCertificate, clientKey } = SECRET_FILES;
  const login = { mount: field('authpath'), role: field('vaultrole') };
  const isCert = field('authmethod') === 'cert';
  return converted({
    predecessor: 'kleidi',
    vault: {
      address: field('address'),
      namespace: field('namespace'),
      mount: field('transitpath'),
      key: field('transitkey'),
      auth: isCert
        ? { cert: { ...given(login), certFile: clientCertificate, keyFile: clientKey } }
        : { kubernetes: { ...given(login), role: login.role ?? 'kleidi' } },
    },
    byHand: isCert
      ? [
          `Copy the files that VAULT_CLIENT_CERT and VAULT_CLIENT_KEY name to ${clientCertificate} and ${clientKey}.`,
          'Where VAULT_CACERT is set, write its path into tls.caFile.',
        ]
      : [
          'The Kubernetes method takes the token of a ServiceAccount, which a service of the node does not have, and Vault asks kube-apiserver about it, which cannot start without the plugin: use AppRole instead (/usr/share/doc/trousseau/docs/authentication.md).',
        ],
  });
}
