/**
 * What comes from outside may hold characters that a terminal or a log viewer obeys instead of
 * showing: line ends, escape sequences, and controls that turn the direction of the text around.
 */

const ORDINARY = /^[ -~]*$/;
/** Controls (C0, DEL, C1), formats (bidi, zero width), surrogates, private use, line separators. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Shows them as JSON escapes, so that JSON stays JSON of the same value. */
export function escapeUnprintable(text: string): string {
  return ORDINARY.test(text) ? text : text.replace(UNPRINTABLE, escaped);
}

function escaped(character: string): string {
  return Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
  ).join('');
}
