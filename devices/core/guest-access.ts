import type { AccessSize } from './host-memory.js';

/** Why a wait of a driver ended. */
export type WaitEnd =
  /** The device's message arrived. */
  | 'message'
  | 'timeout'
  /** The device was removed. */
  | 'removed'
  /** The device was reset: by the machine, its bus, or its slot's power. */
  | 'reset'
  /** Who asked for the work is gone. */
  | 'aborted';

/**
 * All that a built-in driver may touch of its device, as a driver in a guest would: configuration
 * space, BARs and interrupts (design §5). One per function; it outlives single commands.
 */
export interface GuestAccess {
  /** Id or path of the device, for error texts. */
  readonly name: string;
  /** @throws QmpError while the device is stopped: it would not answer */
  checkActive(): void;
  configRead(offset: number, size: 1 | 2 | 4): number;
  configWrite(offset: number, size: 1 | 2 | 4, value: number): void;
  mmioRead(bar: number, offset: number, size: AccessSize): bigint;
  mmioWrite(bar: number, offset: number, size: AccessSize, value: bigint): void;
  /** Address and data by which a message of this device reaches its driver; always the same. */
  message(): { readonly address: bigint; readonly data: number };
  /**
   * Runs `start`, then waits for a message that arrives during or after it. Every wait ends, at the
   * latest after `timeoutMs` of host time.
   */
  wait(
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
    start: () => void,
  ): Promise<WaitEnd>;
  /**
   * Runs one piece of driver work after the other.
   *
   * @throws QmpError when the device is stopped then
   */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
}
