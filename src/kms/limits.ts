/**
 * Every limit that kube-apiserver or this plugin puts on a KMS message, and the checks of them. A
 * value exactly at a limit passes. Source: k8s.io/apiserver's envelope code and KEP-3299.
 */

/** What this plugin takes to encrypt; kube-apiserver sends 32 bytes. */
export const MAX_PLAINTEXT_BYTES = 64 * 1024;
/** v2: kube-apiserver refuses a longer or an empty ciphertext. */
export const MAX_V2_CIPHERTEXT_BYTES = 1024;
/** v1: kube-apiserver stores the length in 16 bits without a check; beyond it an object is lost. */
export const MAX_V1_CIPHERTEXT_BYTES = 65_535;
export const MAX_KEY_ID_BYTES = 1024;
/** v2: keys plus values of all annotations together. */
export const MAX_ANNOTATIONS_BYTES = 32 * 1024;

/** What is wrong with a plaintext to encrypt, or undefined. */
export function plaintextProblem(plaintext: Uint8Array): string | undefined {
  if (plaintext.length === 0) return 'the plaintext is empty';
  if (plaintext.length > MAX_PLAINTEXT_BYTES) {
    return `the plaintext has ${plaintext.length} bytes, at most ${MAX_PLAINTEXT_BYTES} are taken`;
  }
  return undefined;
}

/** What is wrong with the length of a ciphertext, or undefined. */
export function ciphertextProblem(ciphertext: Uint8Array, max: number): string | undefined {
  if (ciphertext.length === 0) {
    return 'the ciphertext is empty: what it stood for was lost when it was written, and cannot be recovered';
  }
  if (ciphertext.length > max) {
    return `the ciphertext has ${ciphertext.length} bytes, kube-apiserver stores at most ${max}`;
  }
  return undefined;
}

/** What is wrong with a key_id, or undefined. */
export function keyIdProblem(keyId: string): string | undefined {
  const bytes = Buffer.byteLength(keyId);
  if (bytes === 0) return 'key_id is empty';
  if (bytes > MAX_KEY_ID_BYTES)
    return `key_id has ${bytes} bytes, at most ${MAX_KEY_ID_BYTES} are allowed`;
  return undefined;
}

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const MAX_DOMAIN_NAME = 253;

/**
 * What is wrong with annotations, or undefined: each key a domain name of two labels or more. As for
 * kube-apiserver, it may end with a dot: `k8s.io/apimachinery`'s IsFullyQualifiedDomainName.
 */
export function annotationsProblem(
  annotations: ReadonlyMap<string, Uint8Array>,
): string | undefined {
  let bytes = 0;
  for (const [key, value] of annotations) {
    bytes += Buffer.byteLength(key) + value.length;
    const labels = (key.endsWith('.') ? key.slice(0, -1) : key).split('.');
    if (
      labels.length < 2 ||
      key.length > MAX_DOMAIN_NAME ||
      !labels.every((l) => DNS_LABEL.test(l))
    ) {
      return 'an annotation key is not a lower-case domain name of two labels or more';
    }
  }
  if (bytes > MAX_ANNOTATIONS_BYTES) {
    return `the annotations have ${bytes} bytes, at most ${MAX_ANNOTATIONS_BYTES} are allowed`;
  }
  return undefined;
}
