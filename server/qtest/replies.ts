const LF = 0x0a;
const ROOM = 64 * 1024;
/** Texts up to this length are written faster here than by the host. */
const SHORT = 16;
/** The longest reply that tells a register. */
const VALUE_BYTES = 22;
/** `OK 0`, before the `x` and the digits. */
const HEAD = 0x4f4b2030;
const X = 0x78;

/** The four hexadecimal digits of 16 bits as one big-endian word, without a branch. */
const digits = (half: number): number => {
  const spread =
    ((half & 0xf000) << 12) | ((half & 0xf00) << 8) | ((half & 0xf0) << 4) | (half & 0xf);
  // A nibble above nine carries into the next one; letters stand 39 further on than digits.
  const letters = ((spread + 0x0606_0606) >>> 4) & 0x0101_0101;
  return spread + 0x3030_3030 + letters * 39;
};

/** Lines on their way to a client, put together as bytes: one buffer for many of them. */
export class Replies {
  #bytes = Buffer.allocUnsafeSlow(ROOM);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  readonly #value = new BigUint64Array(1);
  /** The halves of it, the lower one first. */
  readonly #halves = new Uint32Array(this.#value.buffer);

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Adds a line of Latin-1 characters. */
  text(line: string): void {
    this.#reserve(line.length + 1);
    if (line.length > SHORT) this.#length += this.#bytes.write(line, this.#length, 'latin1');
    else for (let i = 0; i < line.length; i++) this.#bytes[this.#length++] = line.charCodeAt(i);
    this.#bytes[this.#length++] = LF;
  }

  /** Adds the line that tells what a register of at most 64 bits holds, in sixteen digits. */
  value(value: bigint): void {
    this.#reserve(VALUE_BYTES);
    const view = this.#view;
    const at = this.#length;
    this.#value[0] = value;
    const low = this.#halves[0] ?? 0;
    const high = this.#halves[1] ?? 0;
    view.setUint32(at, HEAD);
    view.setUint8(at + 4, X);
    view.setUint32(at + 5, digits(high >>> 16));
    view.setUint32(at + 9, digits(high));
    view.setUint32(at + 13, digits(low >>> 16));
    view.setUint32(at + 17, digits(low));
    view.setUint8(at + 21, LF);
    this.#length = at + VALUE_BYTES;
  }

  /** All lines so far; there are none from now on. */
  take(): Buffer {
    const lines = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    if (this.#bytes.length === ROOM) return Buffer.from(lines);
    this.#use(Buffer.allocUnsafeSlow(ROOM));
    return lines;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const bytes = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length));
    this.#bytes.copy(bytes, 0, 0, this.#length);
    this.#use(bytes);
  }

  #use(bytes: Buffer<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
