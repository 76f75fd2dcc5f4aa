/** Where trees of Debian come from. */
import { existsSync, readFileSync } from 'node:fs';

/** Debian's own files in both of its forms; what others put beside them is no mirror of Debian. */
const SOURCES = ['/etc/apt/sources.list', '/etc/apt/sources.list.d/debian.sources'];
/** Debian's own choice of a mirror near by: for machines that are an Ubuntu, or name none by http. */
const DEFAULT = 'http://deb.debian.org/debian';

/** The one that this machine's own apt uses, or the one that all can reach. */
export function mirror(): string {
  return mirrorIn(
    SOURCES.filter((file) => existsSync(file)).map((file) => readFileSync(file, 'utf8')),
  );
}

/** Of files in either form of apt: the first that is a whole Debian, and not its security updates. */
export function mirrorIn(texts: readonly string[]): string {
  const named = texts
    .flatMap((text) => text.split('\n'))
    .map((line) => /^(?:deb|URIs:)\s.*?(https?:\/\/\S+\/debian)\/?(?:\s|$)/.exec(line)?.[1])
    .find((url) => url !== undefined);
  return named ?? DEFAULT;
}
