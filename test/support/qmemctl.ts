import { Readable } from 'node:stream';
import { run } from '../../ctl/main.js';

export interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** What is piped in. */
  readonly input?: string;
  /** Ends `events` once that many lines are printed. */
  readonly lines?: number;
}

/** Runs qmemctl in this process and keeps what it prints. */
export const qmemctl = async (
  words: readonly string[],
  { env = {}, input, lines = Infinity }: RunOptions = {},
): Promise<Ran> => {
  const printed = { out: '', err: '' };
  const done = new AbortController();
  const status = await run(words, {
    env,
    version: '1.2.3',
    ...(input === undefined ? {} : { input: Readable.from([input]) }),
    out: (text) => {
      printed.out += text;
      if (printed.out.split('\n').length > lines) done.abort();
    },
    err: (text) => void (printed.err += text),
    done: done.signal,
  });
  return { status, ...printed };
};
