/** The methods of the KMS APIs that a configuration asks for. */
import type { ResolvedConfig } from '../config/environment.ts';
import type { Keyring } from '../keyring/keyring.ts';
import type { Method } from '../kms/method.ts';
import * as v1beta1 from '../kms/v1beta1.ts';
import * as v2 from '../kms/v2.ts';
import { VERSION } from '../version.ts';

/** One list for the server, of `listen.apis`. */
export function methodsOf(
  apis: ResolvedConfig['listen']['apis'],
  keyring: Keyring,
  health: Parameters<typeof v2.statusMethod>[0],
): readonly Method[] {
  return [
    ...(apis.includes('v1')
      ? [
          v1beta1.versionMethod({ name: 'Trousseau', version: VERSION }),
          v1beta1.encryptMethod(keyring),
          v1beta1.decryptMethod(keyring),
        ]
      : []),
    ...(apis.includes('v2')
      ? [v2.statusMethod(health), v2.encryptMethod(keyring), v2.decryptMethod(keyring)]
      : []),
  ];
}
