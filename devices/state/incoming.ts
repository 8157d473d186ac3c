/** Data that was announced and is put together chunk by chunk, in any order. */
export class Incoming {
  /** Announced length in bytes. */
  readonly size: number;
  readonly #received = new Set<number>();
  #bytes: Uint8Array | undefined;

  constructor(size: number) {
    this.size = size;
  }

  /**
   * Takes the chunk at `pos`, a multiple of the chunk length below `size`; what of it lies beyond the
   * announced length is left out.
   *
   * @returns everything, once the last missing chunk is there
   */
  put(pos: number, chunk: Uint8Array): Uint8Array | undefined {
    this.#bytes ??= new Uint8Array(this.size);
    this.#bytes.set(chunk.subarray(0, this.size - pos), pos);
    this.#received.add(pos);
    const whole = this.#received.size === Math.ceil(this.size / chunk.length);
    return whole ? this.#bytes : undefined;
  }

  /** The data was refused: every chunk is missing again. */
  restart(): void {
    this.#received.clear();
  }
}
