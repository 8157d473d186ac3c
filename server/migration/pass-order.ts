import { refused } from '../../schema/error.js';
import { blockName, type Block } from './memories.js';

/**
 * The order in which memory comes: in passes 1, 2, ...; in each of them upwards, by the numbers of the
 * memories and inside of them; and in the first one without a gap.
 */
export class PassOrder {
  readonly #blocks: readonly Block[];
  /** Numbers of the memories that are sent. */
  readonly #sent: readonly number[];
  #pass = 0;
  /** Where the present pass has come to: index in `#sent`, offset in that memory. */
  #at = 0;
  #offset = 0n;

  constructor(blocks: readonly Block[], isSent: (index: number) => boolean) {
    this.#blocks = blocks;
    this.#sent = [...blocks.keys()].filter((index) => isSent(index) && this.#size(index) > 0n);
  }

  /** Whether there was a pass already. */
  get hasBegun(): boolean {
    return this.#pass > 0;
  }
  /** @throws QmpError unless it is the next one, and the first one is complete */
  begin(pass: number): void {
    this.end();
    if (pass !== this.#pass + 1)
      throw refused(`pass ${String(pass)} is not the next one, which is ${String(this.#pass + 1)}`);
    this.#pass = pass;
    this.#at = 0;
    this.#offset = 0n;
  }
  /** A range of a memory that is sent comes. @throws QmpError when it is not its turn */
  take(index: number, offset: bigint, length: bigint): void {
    const at = this.#sent.indexOf(index);
    const isBack = at < this.#at || (at === this.#at && offset < this.#offset);
    const isGap = this.#pass === 1 && (at !== this.#at || offset !== this.#offset);
    if (isBack || isGap)
      throw refused(
        `it is about byte ${this.#place(index, offset)}, but pass ${String(this.#pass)} has come to ${this.#reached}`,
      );
    this.#at = at;
    this.#offset = offset + length;
    if (this.#offset === this.#size(index)) {
      this.#at++;
      this.#offset = 0n;
    }
  }
  /** No more of this pass comes. @throws QmpError when the first one is not complete */
  end(): void {
    if (this.#pass === 1 && this.#at < this.#sent.length)
      throw refused(`pass 1 has only come to ${this.#reached}`);
  }

  get #reached(): string {
    const index = this.#sent[this.#at];
    return index === undefined ? 'its end' : `byte ${this.#place(index, this.#offset)}`;
  }
  #place(index: number, offset: bigint): string {
    const block = this.#blocks[index];
    return `${String(offset)} of ${block === undefined ? '' : blockName(block)}`;
  }
  #size(index: number): bigint {
    return this.#blocks[index]?.size ?? 0n;
  }
}
