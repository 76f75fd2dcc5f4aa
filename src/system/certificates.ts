/** PEM files with certificates, as an administrator lists them. */
import { X509Certificate } from 'node:crypto';
import { readRegularFile } from './read-file.ts';

/** As OpenSSL reads them: PEM_read_bio_X509 takes both labels, and skips every other block. */
const BLOCK = /-----BEGIN ((?:X509 )?CERTIFICATE)-----[^-]*-----END \1-----/g;
const BEGIN = /-----BEGIN (?:X509 )?CERTIFICATE-----/g;

/**
 * What is wrong with a file that must hold certificates; undefined where all of them can be read.
 *
 * An empty text must never reach Node as `ca`: it counts as not given, and then every public
 * authority is trusted. A list of which a part cannot be read is wrong too: OpenSSL would stop there
 * without a word, and trust less than the administrator wrote down.
 */
export function certificateProblem(pem: string): string | undefined {
  const blocks = pem.match(BLOCK) ?? [];
  const begun = pem.match(BEGIN)?.length ?? 0;
  if (begun === 0) return 'it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)';
  if (blocks.length !== begun) return `one of its ${begun} certificates has no end`;
  for (const [i, block] of blocks.entries()) {
    try {
      new X509Certificate(block);
    } catch {
      return `certificate ${i + 1} of ${begun} cannot be read`; // the parser's words name no reason
    }
  }
  return undefined;
}

/** The bundle of a distribution has some 250 KB. */
const MOST_BYTES = 4 << 20;

/**
 * The text of a PEM file with public certificates.
 *
 * @throws as {@link readRegularFile} does
 */
export async function readCertificates(path: string): Promise<string> {
  return (await readRegularFile(path, MOST_BYTES)).toString('utf8');
}
