/** The switches that a line of the human monitor begins with, and its words. */

/** A line that cannot be read; the human monitor prints the problem and where to get help. */
export class LineError extends Error {
  constructor(problem: string) {
    super(problem);
    this.name = 'LineError';
  }
}

/**
 * Reads `-a -b`, as QEMU one letter a word.
 *
 * @throws LineError for a switch that is not among `known`, and for anything else
 */
export const readFlags = (known: string, text: string): ReadonlySet<string> => {
  const flags = new Set<string>();
  for (const word of text.split(/\s+/).filter((part) => part !== '')) {
    const letter = /^-(.)/.exec(word)?.[1];
    if (letter !== undefined && !known.includes(letter))
      throw new LineError(`unsupported option -${letter}`);
    if (letter === undefined || word.length > 2)
      throw new LineError('extraneous characters at the end of line');
    flags.add(letter);
  }
  return flags;
};

/** The words of a line, of which there must be so many. @throws LineError */
export const wordsOf = (text: string, count: number): string[] => {
  const words = text.split(/\s+/).filter((word) => word !== '');
  if (words.length < count) throw new LineError('string expected');
  if (words.length > count) throw new LineError('extraneous characters at the end of line');
  return words;
};
