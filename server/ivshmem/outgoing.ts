import { closeSync } from 'node:fs';

/** One message of 8 bytes, with a descriptor that stays the server's. */
export interface Outgoing {
  readonly value: bigint;
  readonly descriptor?: number;
  /** Called once when it is sent, or given up. */
  readonly done?: () => void;
}

/** The event counters of one peer, closed when the peer has left and nobody is still to get them. */
export class PeerVectors {
  readonly #descriptors: readonly number[];
  #holders = 1;

  /** @param descriptors one per vector; taken over */
  constructor(descriptors: readonly number[]) {
    this.#descriptors = descriptors;
  }

  /** Messages that tell somebody about the peer, in vector order. */
  messages(id: number): Outgoing[] {
    return this.#descriptors.map((descriptor) => {
      this.#holders++;
      return { value: BigInt(id), descriptor, done: () => this.release() };
    });
  }

  release(): void {
    if (--this.#holders === 0) for (const descriptor of this.#descriptors) closeSync(descriptor);
  }
}
