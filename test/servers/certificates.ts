/** A private certificate authority for one test, made with the openssl command. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Files in PEM. */
export type KeyPair = { readonly certFile: string; readonly keyFile: string };

export type Subject = {
  readonly commonName: string;
  /** Kubernetes takes it as the group. */
  readonly organisation?: string;
  /** DNS names and IP addresses; a client's certificate needs none. */
  readonly hosts?: readonly string[];
};

export type CertificateAuthority = {
  readonly caFile: string;
  /** The authority's certificate in PEM. */
  readonly ca: string;
  /** A certificate for both ends, valid for a day; `name` is the files' name. */
  issue(name: string, subject: Subject): Promise<KeyPair>;
};

/** Makes an authority in a folder; several in one folder need different names. */
export async function createAuthority(dir: string, name = 'ca'): Promise<CertificateAuthority> {
  const authority = files(dir, name);
  await run('openssl', [
    ...request(authority, { commonName: `${name} of a test` }),
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ]);
  return {
    caFile: authority.certFile,
    ca: readFileSync(authority.certFile, 'utf8'),
    issue: async (certificateName, subject) => {
      const issued = files(dir, certificateName);
      const hosts = subject.hosts ?? [];
      await run('openssl', [
        ...request(issued, subject),
        ...['-CA', authority.certFile, '-CAkey', authority.keyFile],
        ...['-addext', 'basicConstraints=critical,CA:FALSE'],
        ...['-addext', 'extendedKeyUsage=serverAuth,clientAuth'],
        ...(hosts.length === 0 ? [] : ['-addext', `subjectAltName=${hosts.map(san).join(',')}`]),
      ]);
      return issued;
    },
  };
}

/** An RSA key in PEM, as kube-apiserver wants one to sign service account tokens. */
export async function createRsaKey(file: string): Promise<void> {
  await run('openssl', ['genrsa', '-out', file, '2048']);
}

function files(dir: string, name: string): KeyPair {
  return { certFile: join(dir, `${name}.crt`), keyFile: join(dir, `${name}.key`) };
}

function request({ certFile, keyFile }: KeyPair, subject: Subject): string[] {
  const { commonName, organisation } = subject;
  const name = `${organisation === undefined ? '' : `/O=${organisation}`}/CN=${commonName}`;
  return [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'],
    ...['-keyout', keyFile, '-out', certFile, '-days', '1', '-subj', name],
  ];
}

function san(host: string): string {
  return /^[\d.]+$|:/.test(host) ? `IP:${host}` : `DNS:${host}`;
}
