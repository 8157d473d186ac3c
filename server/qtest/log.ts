import { closeSync, openSync, writeSync } from 'node:fs';
import type { QtestConfig } from '../config.js';
import type { RootLog } from '../log.js';
import { openFailure } from '../transport/reason.js';

/** What one session records. */
export interface QtestLog {
  opened(): void;
  received(line: string): void;
  sent(line: string): void;
  closed(): void;
}

const seconds = (since: number): string => ((performance.now() - since) / 1000).toFixed(6);

/**
 * The file of `-qtest-log`: every line with the direction and the seconds since the client came.
 * A file that takes no more ends the log and nothing else.
 */
export class QtestLogFile {
  readonly #log: RootLog;
  #fd: number | undefined;

  /** @throws Error naming the origin and the reason */
  constructor({ origin, path }: NonNullable<QtestConfig['log']>, log: RootLog) {
    this.#log = log;
    try {
      this.#fd = openSync(path, 'w', 0o666);
    } catch (error) {
      throw new Error(`${origin}: ${openFailure(path, error)}`, { cause: error });
    }
  }

  session(): QtestLog {
    const since = performance.now();
    return {
      opened: () => this.#write(`[I ${seconds(since)}] OPENED\n`),
      received: (line) => this.#write(`[R +${seconds(since)}] ${line}\n`),
      sent: (line) => this.#write(`[S +${seconds(since)}] ${line}\n`),
      closed: () => this.#write(`[I +${seconds(since)}] CLOSED\n`),
    };
  }

  /** Safe to call twice. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #write(line: string): void {
    if (this.#fd === undefined) return;
    try {
      writeSync(this.#fd, line, null, 'latin1');
    } catch (error) {
      this.#log.warn({ err: error }, 'the qtest log takes no more');
      this.close();
    }
  }
}
