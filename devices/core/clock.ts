/** The virtual clock of a machine: nanoseconds, stopped while the machine is stopped. */
export interface Clock {
  /** Nanoseconds since the machine was created. */
  now(): bigint;
  /** Calls `fire` once when the clock reaches `deadline`; returns the cancel. */
  at(deadline: bigint, fire: () => void): () => void;
}
