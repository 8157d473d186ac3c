import { closeSync } from 'node:fs';

/** A descriptor, and the bytes of the input that it can have come with. */
interface Arrived {
  readonly fd: number;
  /** Where the read began that brought it. */
  readonly start: number;
  /** Behind the last byte of that read, line ends left out. */
  readonly end: number;
}

const LF = 0x0a;
const CR = 0x0d;

const lengthWithoutLineEnd = (bytes: Uint8Array): number => {
  let length = bytes.length;
  while (length > 1 && (bytes[length - 1] === LF || bytes[length - 1] === CR)) length--;
  return length;
};

/**
 * The descriptors that came with a session's input and no command has taken. As in QEMU a newer
 * one takes the place of an older one, but not of that of a request that still waits.
 *
 * A read may begin before the message that carried its descriptors, never go on behind it. So they
 * belong to the last request that begins in it, or to the next one when it ends in a blank. Who else
 * ends in that read may have them too, when nothing came before.
 *
 * Positions count the bytes of the input from its start.
 *
 * @see reference/qmp-protocol.md §8.2 getfd
 */
export class ArrivedDescriptors {
  readonly #arrived: Arrived[] = [];

  get isEmpty(): boolean {
    return this.#arrived.length === 0;
  }

  /**
   * Keeps the first of the descriptors that came with `bytes`, as QEMU, and closes the others.
   *
   * @param start position of the first byte
   * @param unfinished position behind the last request that may still want one that came before
   */
  arrive(
    descriptors: readonly number[],
    bytes: Uint8Array,
    { start, unfinished }: { readonly start: number; readonly unfinished: number },
  ): void {
    const [first, ...rest] = descriptors;
    for (const fd of rest) closeSync(fd);
    if (first === undefined) return;
    // A longer read may hold the request that the one before came for.
    const previous = bytes.length > 1 ? this.#arrived.at(-1) : undefined;
    const kept = this.#arrived.filter((older) => older.start < unfinished || older === previous);
    for (const older of this.#arrived) if (!kept.includes(older)) closeSync(older.fd);
    const end = start + lengthWithoutLineEnd(bytes);
    this.#arrived.splice(0, Infinity, ...kept, { fd: first, start, end });
  }

  /** A request that ends at `position` begins: what only earlier ones could want is closed. */
  begin(position: number): void {
    const current = this.#arrived.findLastIndex(({ end }) => end <= position);
    this.#closeFirst(current);
  }

  /** The descriptor of the request that ends at `position`, which the caller owns from then on. */
  take(position: number): number | undefined {
    const certain = this.#arrived.findLastIndex(({ end }) => end <= position);
    const taken = certain >= 0 ? certain : this.#arrived.findIndex(({ start }) => start < position);
    if (taken < 0) return undefined;
    this.#closeFirst(taken);
    return this.#arrived.shift()?.fd;
  }

  /** Closes all. Safe to call twice. */
  close(): void {
    this.#closeFirst(this.#arrived.length);
  }

  #closeFirst(count: number): void {
    for (const { fd } of this.#arrived.splice(0, Math.max(count, 0))) closeSync(fd);
  }
}
