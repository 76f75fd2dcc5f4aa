/**
 * What `:authority` may hold, and what takes the place of what it may not.
 *
 * grpc-go up to 1.56 (Kubernetes up to 1.28) sends the raw path of the unix socket as `:authority`.
 * nghttp2, which is Node's HTTP/2, answers such a request with RST_STREAM before any JavaScript
 * sees it: it takes only the characters that RFC 3986, section 3.2, has for an authority, without
 * `@`, and at least one of them. `%` needs no hexadecimal digits behind it.
 */

const ALLOWED = new Uint8Array(256);
for (const character of "!$%&'()*+,-.:;=[]_~") ALLOWED[character.charCodeAt(0)] = 1;
for (const [first, last] of ['09', 'AZ', 'az']) {
  if (first === undefined || last === undefined) continue;
  ALLOWED.fill(1, first.charCodeAt(0), last.charCodeAt(0) + 1);
}

/** Each has a code of the same length in HPACK's Huffman table: 6, 6, 13, 10, 10 and 11 bits. */
const SUBSTITUTES: Readonly<Record<string, string>> = {
  '/': '.',
  ' ': '.',
  '@': '$',
  '"': '!',
  '?': '!',
  '|': '+',
};

const SUBSTITUTE_BYTES = new Uint8Array(256).fill('.'.charCodeAt(0));
for (const [refused, substitute] of Object.entries(SUBSTITUTES)) {
  SUBSTITUTE_BYTES[refused.charCodeAt(0)] = substitute.charCodeAt(0);
}

/** Whether nghttp2 takes this byte in an `:authority`. */
export function isAllowedInAuthority(byte: number): boolean {
  return ALLOWED[byte] === 1;
}

/** The allowed byte that takes the place of one that is not. */
export function substituteFor(byte: number): number {
  return SUBSTITUTE_BYTES[byte] ?? 0;
}

/**
 * Whether this authority, as the server sees it, was the path of a socket when it was sent:
 * `/run/kms.sock` arrives as `.run.kms.sock`, the abstract socket `@kms` as `$kms`, and
 * `unix:///run/kms.sock` as `unix:...run.kms.sock`. No host name begins like one of these, and a
 * client that can encode a path sends `%2Frun%2Fkms.sock` or `localhost`.
 *
 * grpc-go encodes `@` in no version, so that of an abstract socket says nothing about its age.
 */
export function isMendedAuthority(host: string): boolean {
  return host.startsWith('.') || host.startsWith('$') || host.startsWith('unix:.');
}
