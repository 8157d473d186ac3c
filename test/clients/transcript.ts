import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { bytes } from '../conformance/rows.js';

/** One dialogue: what the client sends, byte for byte, and the lines that it must get for it. */
export interface Transcript {
  /** The first comment. */
  readonly title: string;
  /** Command line of the daemon. */
  readonly words: readonly string[];
  readonly steps: readonly Step[];
}
type Step = { readonly kind: 'send' | 'expect'; readonly text: string };

/**
 * Reads a transcript: `#` comments, `%` words of the command line, `->` bytes to send, in which
 * `⟨0D 0A⟩` stands for raw bytes and no line end is added, `<-` a line to get, in which `⟨…⟩`
 * stands for anything and `⟨time⟩` for the members of a timestamp.
 */
export const readTranscript = (text: string): Transcript => {
  const lines = text.split('\n').filter((line) => line !== '');
  const after = (mark: string): string[] =>
    lines.filter((line) => line.startsWith(`${mark} `)).map((line) => line.slice(mark.length + 1));
  const steps = lines.flatMap((line): Step[] => {
    if (line.startsWith('-> ')) return [{ kind: 'send', text: line.slice(3) }];
    return line.startsWith('<- ') ? [{ kind: 'expect', text: line.slice(3) }] : [];
  });
  return { title: after('#')[0] ?? '', words: after('%').join(' ').split(' '), steps };
};

const TIME = '{"seconds": ⟨…⟩, "microseconds": ⟨…⟩}';

/** Whether a line is what a transcript wants. */
export const isMatch = (line: string, wanted: string): boolean => {
  const [first = '', ...rest] = wanted.replaceAll('⟨time⟩', TIME).split('⟨…⟩');
  if (rest.length === 0) return line === first;
  if (!line.startsWith(first)) return false;
  let at = first.length;
  const last = rest.pop() ?? '';
  for (const part of rest) {
    const found = line.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return line.length - last.length >= at && line.endsWith(last);
};

/** A client that knows nothing but lines, which end in CR LF. */
export class LineClient {
  readonly socket: Socket;
  /** What came in each read, as it came. */
  readonly reads: string[] = [];
  readonly #lines: string[] = [];
  #partial = '';
  #wake: (() => void) | undefined;
  #isClosed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.reads.push(text);
      const lines = (this.#partial + text).split('\r\n');
      this.#partial = lines.pop() ?? '';
      this.#lines.push(...lines);
      this.#wake?.();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wake?.();
    });
  }

  static async connect(path: string): Promise<LineClient> {
    const socket = connect({ path, allowHalfOpen: true });
    const client = new LineClient(socket);
    await once(socket, 'connect');
    return client;
  }

  send(data: string | Buffer): void {
    this.socket.write(data);
  }

  /** @throws Error when the connection is closed, or nothing comes for ten seconds */
  async line(): Promise<string> {
    const give = AbortSignal.timeout(10_000);
    for (;;) {
      const line = this.#lines.shift();
      if (line !== undefined) return line;
      if (this.#isClosed) throw new Error(`closed after '${this.#partial}'`);
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        give.onabort = () => reject(new Error(`no line in time; so far '${this.#partial}'`));
      });
    }
  }

  /** Sends text and returns the next line. */
  ask(text: string): Promise<string> {
    this.send(text);
    return this.line();
  }

  /** Ends the input; what the server still had to say, whole lines and the rest of one. */
  async finish(): Promise<string[]> {
    this.socket.end();
    while (!this.#isClosed) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#partial === '' ? this.#lines : [...this.#lines, this.#partial];
  }

  close(): void {
    this.socket.destroy();
  }
}

/**
 * Plays the client's part.
 *
 * @throws Error at the first line that is not as written, or when more comes than is written
 */
export const playTranscript = async (client: LineClient, steps: readonly Step[]): Promise<void> => {
  for (const { kind, text } of steps)
    if (kind === 'send') client.send(bytes(text));
    else {
      const line = await client.line();
      if (!isMatch(line, text)) throw new Error(`wanted ${text}\n   got ${line}`);
    }
  const rest = await client.finish();
  if (rest.length > 0) throw new Error(`not asked for: ${rest.join('\n')}`);
};
