/**
 * An event counter of the host (eventfd), by which processes wake each other. Its holder closes it.
 */
export interface EventNotifier {
  /** Wakes whoever watches; never waits. What was not noticed yet and this are noticed together. */
  signal(): void;
  /**
   * Calls `fire` after every signal, once the counter is drained; several signals may be one call.
   *
   * @throws HostError
   */
  watch(fire: () => void): void;
  /** While it is paused it goes on counting, and `fire` comes afterwards, once. */
  pause(paused: boolean): void;
  /** No call of `fire` comes after this. Safe to call twice. */
  close(): void;
}

/** Descriptors of event counters, as other processes send them. */
export interface EventNotifiers {
  /** @throws HostError when this host has no means to receive descriptors */
  check(): void;
  /**
   * Takes over a descriptor.
   *
   * @throws HostError when it is no event counter; the descriptor is closed then
   */
  adopt(fd: number): EventNotifier;
  /** Closes a descriptor that nobody wants. */
  discard(fd: number): void;
}
