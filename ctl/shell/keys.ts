import { emitKeypressEvents, type Key } from 'node:readline';
import { Readable } from 'node:stream';

interface Press {
  readonly text: string | undefined;
  readonly key: Key;
}

const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

const isText = ({ text, key }: Press): boolean =>
  text !== undefined && text !== '' && key.meta !== true && !CONTROL.test(text);

/**
 * The keys of a terminal, as readline takes them. Text that comes at once, as pasted text does, is one
 * press: readline would add its letters to the end of the line, wherever the cursor is, and lose count
 * of the rows that it has drawn.
 */
export class Keys extends Readable {
  readonly #terminal: NodeJS.ReadableStream;
  /** Presses of one chunk. */
  #presses: Press[] = [];

  constructor(terminal: NodeJS.ReadableStream) {
    super();
    this.#terminal = terminal;
    emitKeypressEvents(terminal);
    terminal.on('keypress', (text: string | undefined, key: Key) => this.#press({ text, key }));
    terminal.on('end', () => this.push(null));
    terminal.on('error', (error: Error) => this.destroy(error));
  }

  setRawMode(isRaw: boolean): void {
    if ('setRawMode' in this.#terminal) (this.#terminal as NodeJS.ReadStream).setRawMode(isRaw);
  }
  override pause(): this {
    this.#terminal.pause();
    return super.pause();
  }
  override resume(): this {
    this.#terminal.resume();
    return super.resume();
  }
  /** There are keys only, no data. */
  override _read(): void {}

  #press(press: Press): void {
    // The other presses of the chunk follow before any microtask.
    if (this.#presses.length === 0) queueMicrotask(() => this.#flush());
    this.#presses.push(press);
  }

  #flush(): void {
    const presses = this.#presses;
    this.#presses = [];
    let text = '';
    for (const [index, press] of presses.entries()) {
      // A tab within pasted text asks for nothing.
      const isBlank = press.key.name === 'tab' && index < presses.length - 1;
      if (isBlank || isText(press)) {
        text += isBlank ? ' ' : (press.text ?? '');
        continue;
      }
      if (text !== '') this.emit('keypress', text, {});
      text = '';
      this.emit('keypress', press.text, press.key);
    }
    if (text !== '') this.emit('keypress', text, {});
  }
}
