import { createHash } from 'node:crypto';
import type { Qtest } from './qtest.js';

const MiB = 1 << 20;

/** A driver that writes to memory all the time, and knows what must be there. */
export class Traffic {
  /** Writes that were answered OK. */
  done = 0;
  readonly #qtest: Qtest;
  readonly #base: bigint;
  readonly #size: number;
  /** What was written, by offset; the rest is as `fill` left it. */
  readonly #written = new Map<number, bigint>();
  readonly #byMiB = new Map<number, Set<number>>();
  #seed: number;
  #isStopped = false;

  constructor(qtest: Qtest, base: bigint, size: number, seed = 1) {
    this.#qtest = qtest;
    this.#base = base;
    this.#size = size;
    this.#seed = seed;
  }

  /** Gives every MiB a byte of its own. */
  async fill(): Promise<void> {
    for (let at = 0; at < this.#size; at += MiB)
      await this.#qtest.ask(`memset ${this.#address(at)} ${String(MiB)} ${String(byteOf(at))}`);
  }
  /** Writes here and there until it is refused or stopped. @returns the refusal */
  async run(): Promise<string> {
    this.#isStopped = false;
    while (!this.#isStopped) {
      const offset = (this.#random() % (this.#size / 8)) * 8;
      const value = BigInt(this.#random()) * 4_294_967_291n + BigInt(this.done);
      const reply = await this.#qtest.ask(`writeq ${this.#address(offset)} ${String(value)}`);
      if (reply !== 'OK') return reply;
      this.#written.set(offset, value);
      const mib = Math.floor(offset / MiB);
      const there = this.#byMiB.get(mib) ?? new Set();
      this.#byMiB.set(mib, there.add(offset));
      this.done++;
    }
    return '';
  }
  stop(): void {
    this.#isStopped = true;
  }

  /** Offset of the first MiB that is not as it must be; undefined when all are. */
  async firstWrong(qtest: Qtest): Promise<number | undefined> {
    for (let at = 0; at < this.#size; at += MiB) {
      const reply = await qtest.ask(`b64read ${this.#address(at)} ${String(MiB)}`);
      const found = createHash('sha256')
        .update(Buffer.from(reply.slice(3), 'base64'))
        .digest();
      if (!found.equals(createHash('sha256').update(this.#expected(at)).digest())) return at;
    }
    return undefined;
  }

  #expected(at: number): Buffer {
    const bytes = Buffer.alloc(MiB, byteOf(at));
    for (const offset of this.#byMiB.get(at / MiB) ?? [])
      bytes.writeBigUInt64LE(this.#written.get(offset) ?? 0n, offset - at);
    return bytes;
  }
  #address(offset: number): string {
    return `0x${(this.#base + BigInt(offset)).toString(16)}`;
  }
  /** xorshift32. */
  #random(): number {
    this.#seed ^= this.#seed << 13;
    this.#seed ^= this.#seed >>> 17;
    this.#seed ^= this.#seed << 5;
    return this.#seed >>> 0;
  }
}

const byteOf = (at: number): number => (at / MiB) % 251;
