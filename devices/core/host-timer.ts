/** Host time, for time-outs; never what a guest sees. Injected, so that tests need not wait. */
export interface HostTimer {
  /** Calls `fire` once after `ms`; returns the cancel. */
  after(ms: number, fire: () => void): () => void;
}
