import { UsageError } from './arguments.js';

/** Words of a line typed by a person: blanks separate, except inside quotes and brackets. */

/** A word, and where it begins in the text. */
export interface Word {
  readonly text: string;
  readonly start: number;
}
export interface Words {
  readonly words: readonly Word[];
  /** Brackets that are still open at the end of the text; 0 when it is complete. */
  readonly depth: number;
}

const BLANK = /[\s]*/y;
/** A string within brackets; no string goes on in the next line. */
const STRING = /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/y;
const STRINGS = new RegExp(STRING.source, 'g');

const matchAt = (pattern: RegExp, text: string, at: number): string | undefined => {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
};

/**
 * Follows brackets from `at` on, with `depth` of them open.
 *
 * @returns where the last one closes and depth 0, or the end of the text and how many are open
 * @throws UsageError when a quote is not closed within its line
 */
export const followBrackets = (
  text: string,
  from: number,
  open: number,
): { readonly at: number; readonly depth: number } => {
  let depth = open;
  for (let at = from; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === '"' || char === "'") {
      const string = matchAt(STRING, text, at);
      if (string === undefined) throw new UsageError('a quote is not closed');
      at += string.length - 1;
    } else if (char === '{' || char === '[') depth++;
    else if ((char === '}' || char === ']') && --depth === 0) return { at: at + 1, depth };
  }
  return { at: text.length, depth };
};

/** Strings in single quotes, which QMP takes too, in the double quotes of JSON. */
const jsonQuotes = (text: string): string =>
  text.replace(STRINGS, (string) =>
    string.startsWith('"')
      ? string
      : `"${string.slice(1, -1).replace(/\\'|"/g, (found) => (found === '"' ? '\\"' : "'"))}"`,
  );

interface Part {
  readonly text: string;
  readonly at: number;
  readonly depth: number;
}

/** What begins a word or a value: brackets, a JSON string, or a quoted word; undefined: none of it. */
const readPart = (text: string, start: number): Part | undefined => {
  const first = text[start] ?? '';
  if (first === '{' || first === '[') {
    const { at, depth } = followBrackets(text, start, 0);
    return { text: jsonQuotes(text.slice(start, at)), at, depth };
  }
  if (first !== '"' && first !== "'") return undefined;
  const string = matchAt(STRING, text, start);
  if (string === undefined) throw new UsageError('a quote is not closed');
  const inner = first === "'" ? string.slice(1, -1) : string;
  return { text: inner, at: start + string.length, depth: 0 };
};

const readWord = (text: string, start: number): Part => {
  let word = '';
  let at = start;
  let depth = 0;
  // Quotes and brackets mean something at the beginning of a word, and of the value behind its '='.
  let begins = true;
  while (at < text.length && !/\s/.test(text[at] ?? '')) {
    const part: Part | undefined = begins ? readPart(text, at) : undefined;
    const char = text[at] ?? '';
    begins = part === undefined && char === '=' && !word.includes('=');
    word += part?.text ?? char;
    at = part?.at ?? at + 1;
    depth = part?.depth ?? depth;
  }
  return { text: word, at, depth };
};

/**
 * Splits a text into words. `{..}`, `[..]` and `"..."` stay as they are (single quotes inside
 * brackets become double ones); `'...'` keeps blanks together and loses its quotes.
 *
 * @throws UsageError when a quote is not closed
 */
export const splitWords = (text: string): Words => {
  const words: Word[] = [];
  let depth = 0;
  for (let at = 0; ;) {
    at += matchAt(BLANK, text, at)?.length ?? 0;
    if (at >= text.length) return { words, depth };
    const word = readWord(text, at);
    words.push({ text: word.text, start: at });
    at = word.at;
    depth = word.depth;
  }
};
