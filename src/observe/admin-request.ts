/** Reads the header of one HTTP/1 request, RFC 9112, as far as the admin endpoint needs it. */

export type AdminRequest =
  /** The header has not ended yet. */
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'too long' }
  | { readonly kind: 'malformed'; readonly why: string }
  | { readonly kind: 'other method' }
  | {
      readonly kind: 'request';
      readonly path: string;
      readonly isHead: boolean;
      /** Whether Host is a name that only this machine has; false also for none in HTTP/1.1. */
      readonly loopbackHost: boolean;
    };

/** Enough for every probe; no field but Host matters. */
export const MAX_HEADER_BYTES = 4_096;

const REQUEST_LINE = /^([A-Z]{1,16}) (\/[!-~]*) HTTP\/1\.([01])$/;
/** Its value with the blanks around it: an expression that leaves them out takes the square of their number and more. */
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)$/;
/** A web page can make a browser send any other name, which it has resolved to this machine. */
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

/** `text` is all that was received so far, as Latin-1. What follows the header is not read. */
export function parseAdminRequest(text: string): AdminRequest {
  const end = text.indexOf('\r\n\r\n');
  if (end > MAX_HEADER_BYTES || (end < 0 && text.length > MAX_HEADER_BYTES))
    return { kind: 'too long' };
  if (end < 0) return { kind: 'incomplete' };
  const [first = '', ...fields] = text.slice(0, end).split('\r\n');
  const [, method, target = '', minor] = REQUEST_LINE.exec(first) ?? [];
  if (method === undefined) return malformed('this is not a request of HTTP/1');
  let host: string | undefined;
  for (const field of fields) {
    const [, name, padded = ''] = FIELD.exec(field) ?? [];
    if (name === undefined) return malformed('a header field is malformed');
    const value = withoutBlanks(padded);
    switch (name.toLowerCase()) {
      case 'host':
        if (host !== undefined) return malformed('there are two Host fields');
        host = value;
        break;
      case 'content-length':
        if (value !== '0') return malformed('a request with a body is not answered');
        break;
      case 'transfer-encoding':
      case 'expect':
      case 'upgrade':
        return malformed(`${name.toLowerCase()} is not answered`);
    }
  }
  if (method !== 'GET' && method !== 'HEAD') return { kind: 'other method' };
  return {
    kind: 'request',
    path: target.split('?')[0] ?? '',
    isHead: method === 'HEAD',
    // HTTP/1.0 has no Host field, and no browser speaks it.
    loopbackHost: host === undefined ? minor === '0' : LOOPBACK.test(host),
  };
}

/** Without the optional whitespace of RFC 9112, 5.1. */
function withoutBlanks(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text[from])) from += 1;
  while (to > from && isBlank(text[to - 1])) to -= 1;
  return text.slice(from, to);
}

function isBlank(character: string | undefined): boolean {
  return character === ' ' || character === '\t';
}

function malformed(why: string): AdminRequest {
  return { kind: 'malformed', why };
}
