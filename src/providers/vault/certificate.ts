/** What is wrong with a server's certificate, with the facts that a person needs to mend it. */
import type { PeerCertificate } from 'node:tls';
import { codeOf, explained } from './errors.ts';

/** As much of a certificate as is spoken of. */
export type Shown = Partial<
  Pick<PeerCertificate, 'subject' | 'issuer' | 'subjectaltname' | 'valid_from' | 'valid_to'>
>;

/**
 * A TLS error in a sentence; undefined where it is not about the server's certificate.
 *
 * @param peer what the server showed, where it came so far
 * @param name what the certificate must be for
 * @param now by this machine's clock, in milliseconds since the epoch
 */
export function certificateFault(
  error: unknown,
  peer: Shown | undefined,
  name: string,
  now: number,
): Error | undefined {
  const code = codeOf(error);
  const why = whyOf(code, peer ?? {}, name, now);
  return why === undefined ? undefined : explained(`${why} (${code})`, error);
}

function whyOf(code: string, peer: Shown, name: string, now: number): string | undefined {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      // What has expired may also be an authority's.
      return Date.parse(peer.valid_to ?? '') > now
        ? `an authority of its certificate has expired, the certificate itself is valid until ${said(peer.valid_to)}; ${by(peer)}`
        : `its certificate expired on ${said(peer.valid_to)}: renew it; by this machine's clock it is ${new Date(now).toISOString()}`;
    case 'CERT_NOT_YET_VALID':
      return `its certificate is not valid before ${said(peer.valid_from)}: by this machine's clock it is ${new Date(now).toISOString()}`;
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `its certificate is for ${namesOf(peer)}, not for ${name}: use one of those names, or set tls.serverName`;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return `its certificate is signed by itself (${said(peer.subject?.CN)}): put it, or its authority, into tls.caFile`;
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'CERT_SIGNATURE_FAILURE':
    case 'CERT_UNTRUSTED':
      return `${by(peer)}, and that authority is not in tls.caFile or, without that field, not one of the machine's`;
    default:
      return undefined;
  }
}

function by({ issuer }: Shown): string {
  return `its certificate was issued by ${said(issuer?.CN ?? issuer?.O)}`;
}

function namesOf({ subjectaltname, subject }: Shown): string {
  const names = (subjectaltname ?? '').replace(/(?:DNS|IP Address):/g, '');
  return said(names === '' ? subject?.CN : names);
}

const MAX_SHOWN = 200;

/** What a stranger has written into a certificate, fit to be shown. */
function said(text: string | string[] | undefined): string {
  const line = String(text ?? '')
    .replace(/[\s\p{C}]+/gu, ' ')
    .trim();
  if (line === '') return 'somebody who is not named';
  return line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN).toWellFormed()}...` : line;
}
