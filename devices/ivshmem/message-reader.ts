/** One message of the server: a number, and the descriptor that came with it. */
export interface ServerMessage {
  readonly value: bigint;
  /** The receiver owns it. */
  readonly descriptor: number | undefined;
}

export const MESSAGE_BYTES = 8;

/**
 * Chunks of bytes -> messages of 8 bytes, little-endian and signed. Descriptors of a chunk belong
 * to the message that was begun last in it.
 *
 * @see reference/pci-and-memory-devices.md §9.5, reference/native-os-access.md §3.1
 */
export class MessageReader {
  readonly #message = new DataView(new ArrayBuffer(MESSAGE_BYTES));
  readonly #discard: (descriptor: number) => void;
  #filled = 0;
  /** Came with the first bytes of the message that is not complete yet. */
  #descriptor: number | undefined;

  /** @param discard closes a descriptor: a message has one, more are not wanted */
  constructor(discard: (descriptor: number) => void) {
    this.#discard = discard;
  }

  /** @returns the messages that are complete now, in order */
  push(bytes: Uint8Array, descriptors: readonly number[]): ServerMessage[] {
    const whole = Math.floor((this.#filled + bytes.length) / MESSAGE_BYTES);
    const endsWhole = (this.#filled + bytes.length) % MESSAGE_BYTES === 0;
    const messages: ServerMessage[] = [];
    for (const byte of bytes) {
      this.#message.setUint8(this.#filled++, byte);
      if (this.#filled < MESSAGE_BYTES) continue;
      if (endsWhole && messages.length === whole - 1) this.#keep(descriptors);
      messages.push({ value: this.#message.getBigInt64(0, true), descriptor: this.#descriptor });
      this.#filled = 0;
      this.#descriptor = undefined;
    }
    if (!endsWhole) this.#keep(descriptors);
    return messages;
  }

  #keep(descriptors: readonly number[]): void {
    for (const descriptor of descriptors)
      if (this.#descriptor === undefined) this.#descriptor = descriptor;
      else this.#discard(descriptor);
  }

  /** Gives up what is not complete. */
  close(): void {
    if (this.#descriptor !== undefined) this.#discard(this.#descriptor);
    this.#descriptor = undefined;
    this.#filled = 0;
  }
}
