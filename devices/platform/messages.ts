import { refused } from '../../schema/error.js';
import { MemoryRegion } from '../core/memory-region.js';

/** Where message-signalled interrupts go: Intel SDM vol. 3 §11.11 Message Signalled Interrupts. */
export const MESSAGE_BASE = 0xfee00000n;
const MESSAGE_WINDOW = 0x100000;
/** Receivers are told apart by address; the lowest one is left to software of the guest side. */
const RECEIVER_STRIDE = 16;
/** Low five bits clear, so that up to 32 vectors fit below one base value. */
const FIRST_DATA = 0x20;

/** An address and a data value that software can program into a device's MSI capability. */
export interface MessageSlot {
  readonly address: bigint;
  readonly data: number;
  release(): void;
}

/** The receiver of MSI and MSI-X messages at 0xfee00000; hands messages back to who asked for them. */
export class MessageReceiver {
  readonly region: MemoryRegion;
  readonly #handlers = new Map<number, (data: number) => void>();
  #next = 1;

  constructor() {
    this.region = MemoryRegion.mmio('apic-msi', BigInt(MESSAGE_WINDOW), {
      read: () => 0n,
      write: (offset, _size, value) => this.#receive(offset, Number(value & 0xffffffffn)),
    });
  }

  /**
   * Reserves an address; `onMessage` gets the data of each message sent there (the low bits carry
   * the vector when a device uses several).
   *
   * @throws QmpError GenericError when all addresses are taken
   */
  allocate(onMessage: (data: number) => void): MessageSlot {
    const index = this.#free();
    this.#handlers.set(index, onMessage);
    return {
      address: MESSAGE_BASE + BigInt(index * RECEIVER_STRIDE),
      data: FIRST_DATA,
      release: () => {
        if (this.#handlers.get(index) === onMessage) this.#handlers.delete(index);
      },
    };
  }

  #free(): number {
    const count = MESSAGE_WINDOW / RECEIVER_STRIDE;
    for (let tried = 1; tried < count; tried++) {
      const index = this.#next;
      this.#next = index + 1 < count ? index + 1 : 1;
      if (!this.#handlers.has(index)) return index;
    }
    throw refused('All message addresses of the platform are in use');
  }

  #receive(offset: number, data: number): void {
    if (offset % RECEIVER_STRIDE === 0) this.#handlers.get(offset / RECEIVER_STRIDE)?.(data);
  }
}
