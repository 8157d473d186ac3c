import { emitKeypressEvents, type Key } from 'node:readline';
import { Readable } from 'node:stream';

interface Press {
  readonly text: string | undefined;
  readonly key: Key;
}

const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

const isText = ({ text, key }: Press): boolean =>
  text !== undefined && text !== '' && key.meta !== true && !CONTROL.test(text);

const isInterrupt = ({ key }: Press): boolean => key.ctrl === true && key.name === 'c';

/** Tells the terminal to mark what is pasted, which is then told from what is typed. */
export const MARK_PASTES = '\x1b[?2004h';
export const MARK_NO_PASTES = '\x1b[?2004l';

/**
 * The keys of a terminal, as readline takes them. Text that comes at once, as pasted text does, is one
 * press: readline would add its letters to the end of the line, wherever the cursor is, and lose count
 * of the rows that it has drawn. What follows a line waits until the line is done with, and what
 * follows a Tab until its completion is there, as if a person had typed it.
 */
export class Keys extends Readable {
  readonly #terminal: NodeJS.ReadableStream;
  #presses: Press[] = [];
  #isScheduled = false;
  #isEnded = false;
  /** Within marks of a paste. */
  #isPasted = false;
  #isCompleting = false;
  #isLineBusy = false;

  constructor(terminal: NodeJS.ReadableStream) {
    super();
    this.#terminal = terminal;
    emitKeypressEvents(terminal);
    terminal.on('keypress', (text: string | undefined, key: Key) => this.#press({ text, key }));
    terminal.on('end', () => {
      this.#isEnded = true;
      this.#schedule();
    });
    terminal.on('error', (error: Error) => this.destroy(error));
  }

  /** Whether a completion is under way: keys wait. */
  set isCompleting(is: boolean) {
    this.#isCompleting = is;
    this.#schedule();
  }
  /** Whether a line is being worked on: keys wait, but for Ctrl-C. */
  set isLineBusy(is: boolean) {
    this.#isLineBusy = is;
    this.#schedule();
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
    const { name } = press.key;
    if (name === 'paste-start' || name === 'paste-end') {
      this.#isPasted = name === 'paste-start';
      return;
    }
    if (isInterrupt(press)) this.#isPasted = false;
    // The two characters of one line end.
    if (name === 'enter' && this.#presses.at(-1)?.key.name === 'return') return;
    // A tab within pasted text asks for nothing.
    this.#presses.push(name === 'tab' && this.#isPasted ? { text: ' ', key: {} } : press);
    this.#schedule();
  }

  /** The other presses of a chunk, and what readline does with a key, come before any microtask. */
  #schedule(): void {
    if (!this.#isScheduled) queueMicrotask(() => this.#flush());
    this.#isScheduled = true;
  }

  #flush(): void {
    this.#isScheduled = false;
    while (this.#presses.length > 0 && !this.#isCompleting) {
      if (this.#isLineBusy) {
        const at = this.#presses.findIndex(isInterrupt);
        if (at < 0) return;
        // What was typed ahead is given up, too.
        this.#presses.splice(0, at);
      }
      this.#emitNext();
    }
    if (this.#isEnded && this.#presses.length === 0) this.push(null);
  }

  #emitNext(): void {
    const end = this.#presses.findIndex((press) => !isText(press));
    const texts = this.#presses.splice(0, end < 0 ? Infinity : end);
    if (texts.length > 0) this.emit('keypress', texts.map(({ text }) => text).join(''), {});
    const press = texts.length > 0 ? undefined : this.#presses.shift();
    if (press !== undefined) this.emit('keypress', press.text, press.key);
  }
}
