// Which words of a text are those that were asked for. Pure.

const LETTER = "[\\p{L}\\p{N}_]";
const SHORT_CHARS = 4; // such a word is marked only where it stands as it is
const ENDING_CHARS = 3; // of a longer one, what may be another ending

/** The words as an expression: longer ones with other endings, too, as the index knows them (`renewing`, `renewed`). */
function expression(words) {
  const parts = words.map((word) => {
    const chars = [...word];
    const spaced = /^[\x00-\x7f]/.test(word); // other scripts have words that no space parts
    const stem = chars.slice(0, Math.max(SHORT_CHARS, chars.length - ENDING_CHARS)).join("");
    const body = (text) => text.replace(/[\\^$.*+?()[\]{}|\/-]/g, "\\$&");
    if (!spaced) return body(word);
    return chars.length > SHORT_CHARS ? `(?<!${LETTER})${body(stem)}${LETTER}*` : `(?<!${LETTER})${body(word)}(?!${LETTER})`;
  });
  return new RegExp(parts.join("|"), "giu");
}

/** The text in pieces: [text, whether it is such a word]. */
export function pieces(text, words) {
  if (!words.length) return [[text, false]];
  const found = [];
  let at = 0;
  for (const match of text.matchAll(expression(words))) {
    if (!match[0]) continue;
    found.push([text.slice(at, match.index), false], [match[0], true]);
    at = match.index + match[0].length;
  }
  return [...found, [text.slice(at), false]].filter(([part]) => part);
}

/** An address that a link may lead to; anything but the web (`javascript:`, for one) is none. */
export const address = (url) => (/^https?:\/\//i.test(url ?? "") ? url : null);
