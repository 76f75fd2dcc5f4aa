/** What a person typed, fit for a terminal and a log. */

const MAX_SHOWN = 40;

/** Without control characters, and no longer than a line. */
export function printed(word: string): string {
  const plain = word.replaceAll(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?');
  return plain.length <= MAX_SHOWN ? plain : `${plain.slice(0, MAX_SHOWN)}...`;
}
