/** Character devices of the machine, by id (`-chardev`, `chardev-add`). */
export interface CharDevices {
  /**
   * Makes the caller the front end of a character device, until it releases it.
   *
   * @param property for whom, as in errors: `ivshmem-doorbell.chardev`
   * @throws QmpError when there is no such character device, or somebody uses it
   */
  claim(id: string, property: string): CharFrontEnd;
}

/** What a front end hears of its character device. */
export interface CharListener {
  /** Bytes in order; descriptors, now the listener's to close, with the bytes they came with. */
  data(bytes: Uint8Array, descriptors: readonly number[]): void;
  /** The peer has gone. Another may come, as for a listening socket. */
  closed(): void;
}

/** The front end's side of a character device. */
export interface CharFrontEnd {
  /** Whether a peer is there. */
  readonly connected: boolean;
  /** Starts reading; before, nothing is taken from the peer. */
  open(listener: CharListener): void;
  /** Sends bytes, which must not change afterwards; dropped when nobody is there. */
  write(bytes: Uint8Array): void;
  /** Gives the character device back; its peer stays connected. Safe to call twice. */
  release(): void;
}
