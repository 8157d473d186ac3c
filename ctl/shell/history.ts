import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs';

/** How many lines are kept from one start to the next. */
export const HISTORY_LINES = 1000;

/** Statements typed before, each on a line, in a file that only its owner reads. */
export class History {
  readonly #path: string;
  readonly #warn: (text: string) => void;
  #broken = false;

  /** @param warn told once when the file cannot be used; the shell works without */
  constructor(path: string, warn: (text: string) => void) {
    this.#path = path;
    this.#warn = warn;
  }

  /** The last lines, newest first as readline wants them. Shortens the file when it has grown. */
  load(): string[] {
    return (
      this.#try(() => {
        // Made here, so that it is private before the first line is in it.
        appendFileSync(this.#path, '', { mode: 0o600 });
        chmodSync(this.#path, 0o600);
        const all = readFileSync(this.#path, 'utf8').split('\n').filter(Boolean);
        const lines = all.slice(-HISTORY_LINES);
        if (all.length > 2 * HISTORY_LINES) writeFileSync(this.#path, `${lines.join('\n')}\n`);
        return lines.reverse();
      }) ?? []
    );
  }

  /** Adds a statement at once, so that neither another shell nor a crash costs it. */
  add(line: string): void {
    // As in bash: what begins with a blank is not remembered.
    if (line.trim() === '' || line.startsWith(' ')) return;
    this.#try(() => appendFileSync(this.#path, `${line}\n`, { mode: 0o600 }));
  }

  #try<T>(use: () => T): T | undefined {
    if (this.#broken) return undefined;
    try {
      return use();
    } catch (error) {
      this.#broken = true;
      this.#warn(`no history: ${(error as Error).message}`);
      return undefined;
    }
  }
}
