/** Who we are, as KMS v1's Version and `trousseau version` say it. */

declare const __TROUSSEAU_VERSION__: string | undefined;
declare const __TROUSSEAU_COMMIT__: string | undefined;

/** Semver; a bundle carries package.json's, the sources run as a development version. */
export const VERSION =
  typeof __TROUSSEAU_VERSION__ === 'string' ? __TROUSSEAU_VERSION__ : '0.0.0-dev';
/** The commit that a bundle was made from. */
export const COMMIT = typeof __TROUSSEAU_COMMIT__ === 'string' ? __TROUSSEAU_COMMIT__ : 'unknown';
