/** The TLS files of one Vault: read, and checked before anything is trusted because of them. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { VaultConfig } from '../../config/schema.ts';
import { certificateProblem, readCertificates } from '../../system/certificates.ts';
import { reasonOf } from '../../system/files.ts';
import { readMachineAuthorities } from '../../system/machine-authorities.ts';
import { fail, type Result, succeed } from '../errors.ts';
import type { ReadSecret } from './auth/login.ts';
import type { TlsMaterial } from './dispatcher.ts';

type TlsSettings = Pick<VaultConfig, 'tls' | 'auth'> & {
  readonly addresses?: readonly string[];
};

/**
 * The files as they are now, or a sentence that names the field and the file. An authority file
 * without a certificate is an error and never a wider trust.
 */
export async function readTlsFiles(
  { tls, auth, addresses = [] }: TlsSettings,
  readSecret: ReadSecret,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<Result<TlsMaterial>> {
  // The certificate that logs in is the one of the connection, so it wins over that of `tls`.
  const { caFile } = tls;
  const section = auth.cert === undefined ? 'tls' : 'auth.cert';
  const { certFile, keyFile } = auth.cert ?? tls;
  try {
    const isOfMachine = caFile === undefined && addresses.some((url) => /^https:/i.test(url));
    const [ca, cert, key, machine] = await Promise.all([
      caFile === undefined
        ? undefined
        : readOf(`tls.caFile ${caFile}`, () => readCertificates(caFile)),
      certFile === undefined
        ? undefined
        : readOf(`${section}.certFile ${certFile}`, () => readSecret(certFile)),
      keyFile === undefined
        ? undefined
        : readOf(`${section}.keyFile ${keyFile}`, () => readSecret(keyFile)),
      // Where they are not read in time, those that were read before hold, or those that Node finds.
      isOfMachine ? readMachineAuthorities(env).catch(() => undefined) : undefined,
    ]);
    for (const [field, file, pem] of [
      ['tls.caFile', caFile, ca],
      [`${section}.certFile`, certFile, cert],
    ]) {
      const problem = pem === undefined ? undefined : certificateProblem(pem);
      if (problem !== undefined) return wrong(`${field} ${file}: ${problem}`);
    }
    const mismatch = cert === undefined ? undefined : pairProblem(cert, key ?? '');
    if (mismatch !== undefined) return wrong(`${section}.certFile ${certFile}: ${mismatch}`);
    return succeed({
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(machine === undefined ? {} : { machine }),
    });
  } catch (error) {
    // A file may be on its way, as at a boot: trying again can help.
    return fail('unavailable', `${WHAT}: ${reasonOf(error)}`);
  }
}

const WHAT = 'reading the TLS files for Vault';

function wrong(why: string): Extract<Result<never>, { ok: false }> {
  return fail('denied', `${WHAT}: ${why}`);
}

async function readOf(what: string, read: () => Promise<string>): Promise<string> {
  try {
    return await read();
  } catch (error) {
    throw new Error(`${what}: ${reasonOf(error)}`, { cause: error });
  }
}

function pairProblem(cert: string, key: string): string | undefined {
  // Node takes an empty text for none, and would connect without the certificate.
  if (!key.includes('PRIVATE KEY-----')) return 'its key file holds no private key in PEM form';
  try {
    // Of a chain, the first certificate is that of the key (RFC 8446, section 4.4.2).
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
      return 'it does not fit its key';
    createSecureContext({ cert, key });
    return undefined;
  } catch (error) {
    return `it does not fit its key: ${reasonOf(error)}`;
  }
}
