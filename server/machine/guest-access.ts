import type { GuestAccess, WaitEnd } from '../../devices/core/guest-access.js';
import { refused } from '../../schema/error.js';
import type { AccessSize } from '../../devices/core/host-memory.js';
import type { PciFunction } from '../../devices/pci/function.js';
import type { MessageReceiver, MessageSlot } from '../../devices/platform/messages.js';

/** The wait of a driver that is under way. */
interface Waiting {
  end(how: WaitEnd): void;
}

export interface FunctionAccessOptions {
  /** Id or path of the device, for error texts. */
  readonly name: string;
  readonly messages: Pick<MessageReceiver, 'allocate'>;
  /** Calls back after host time; returns the cancel. Default the host's timers. */
  readonly after?: (ms: number, fire: () => void) => () => void;
}

const hostTimer = (ms: number, fire: () => void): (() => void) => {
  const timer = setTimeout(fire, ms);
  return () => clearTimeout(timer);
};

/**
 * What a built-in driver may touch of one function, as a driver in a guest would. A part of the
 * function: it learns of resets and of the end, and its message address stays the same meanwhile.
 */
export class FunctionAccess implements GuestAccess {
  readonly name: string;
  readonly #fn: PciFunction;
  readonly #messages: Pick<MessageReceiver, 'allocate'>;
  readonly #after: NonNullable<FunctionAccessOptions['after']>;
  #slot: MessageSlot | undefined;
  #waiting: Waiting | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #removed = false;

  constructor(fn: PciFunction, { name, messages, after = hostTimer }: FunctionAccessOptions) {
    this.name = name;
    this.#fn = fn;
    this.#messages = messages;
    this.#after = after;
    fn.addPart('guest-driver', {
      reset: () => this.#waiting?.end('reset'),
      close: () => this.#remove(),
    });
  }

  checkActive(): void {
    if (this.#fn.activity.stopped) throw refused(`device '${this.name}' is stopped`);
  }
  configRead(offset: number, size: 1 | 2 | 4): number {
    return this.#fn.readConfig(offset, size);
  }
  configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    this.#fn.writeConfig(offset, size, value);
  }
  mmioRead(bar: number, offset: number, size: AccessSize): bigint {
    return this.#removed ? 0n : this.#fn.readBar(bar, offset, size);
  }
  mmioWrite(bar: number, offset: number, size: AccessSize, value: bigint): void {
    if (!this.#removed) this.#fn.writeBar(bar, offset, size, value);
  }
  message(): { readonly address: bigint; readonly data: number } {
    this.#slot ??= this.#messages.allocate(() => this.#waiting?.end('message'));
    return this.#slot;
  }

  wait(
    {
      timeoutMs,
      signal,
    }: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
    start: () => void,
  ): Promise<WaitEnd> {
    return new Promise((resolve) => {
      if (this.#removed || signal?.aborted === true) {
        resolve(this.#removed ? 'removed' : 'aborted');
        return;
      }
      const cancel = this.#after(timeoutMs, () => this.#waiting?.end('timeout'));
      const abort = (): void => this.#waiting?.end('aborted');
      signal?.addEventListener('abort', abort, { once: true });
      this.#waiting = {
        end: (how) => {
          this.#waiting = undefined;
          cancel();
          signal?.removeEventListener('abort', abort);
          resolve(how);
        },
      };
      start();
    });
  }
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      this.checkActive();
      return work();
    });
    // The next piece of work follows whether this one succeeds or not; its caller gets the failure.
    this.#last = result.catch(() => undefined);
    return result;
  }

  #remove(): void {
    this.#removed = true;
    this.#slot?.release();
    this.#waiting?.end('removed');
  }
}
