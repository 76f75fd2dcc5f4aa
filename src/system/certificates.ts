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
  const blocks = certificatesIn(pem);
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

/** The certificates in a PEM file, each with its label; what is between them is left out. */
export function certificatesIn(pem: string): readonly string[] {
  return pem.match(BLOCK) ?? [];
}

/** What the dates of the certificates in a file mean at a time. */
export type Validity = {
  /** How many of them are valid then. */
  readonly valid: number;
  /** Which are not, and since or until when; undefined where all are valid. */
  readonly why: string | undefined;
};

const MOST_NAMED = 3;
const MOST_SHOWN = 80;

/**
 * Reads the dates of a file that {@link certificateProblem} has nothing against.
 *
 * @param now in milliseconds since the epoch
 */
export function validityOf(pem: string, now: number): Validity {
  const blocks = certificatesIn(pem);
  const wrong = blocks.flatMap((block, i): readonly string[] => {
    const certificate = new X509Certificate(block);
    const why = dateProblem(certificate, now);
    if (why === undefined) return [];
    return [`certificate ${i + 1} of ${blocks.length} (${subjectOf(certificate)}) ${why}`];
  });
  const valid = blocks.length - wrong.length;
  if (wrong.length === 0) return { valid, why: undefined };
  const more = wrong.length - MOST_NAMED;
  const named = wrong.slice(0, MOST_NAMED).join(', ');
  const why = `${named}${more > 0 ? ` and ${more} more` : ''}; by this machine's clock it is ${iso(now)}`;
  return { valid, why };
}

function dateProblem({ validFrom, validTo }: X509Certificate, now: number): string | undefined {
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  if (to < now) return `expired on ${iso(to)}`;
  return from > now ? `is not valid before ${iso(from)}` : undefined;
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

/** Its common name, where it has one; on one line, without what a terminal obeys. */
function subjectOf({ subject }: X509Certificate): string {
  const name = /^CN=.*$/m.exec(subject)?.[0] ?? subject;
  return name.replace(/\n/g, ', ').replace(/\p{C}/gu, '?').slice(0, MOST_SHOWN).toWellFormed();
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
