import type { GuestAccess, WaitEnd } from '../../devices/core/guest-access.js';
import type { AccessSize } from '../../devices/core/host-memory.js';
import type { FunctionPart, PciFunction } from '../../devices/pci/function.js';

/** Where messages for built-in drivers go; the platform's receiver of MSI messages offers it. */
export interface MessageSource {
  allocate(onMessage: (data: number) => void): {
    readonly address: bigint;
    readonly data: number;
    release(): void;
  };
}
export interface FunctionAccessOptions {
  /** Id or path, for error texts. */
  readonly name: string;
  readonly messages: MessageSource;
  /** Calls back after host time; returns the cancel. */
  readonly after: (ms: number, fire: () => void) => () => void;
}

const PART = 'guest-driver';

/** A built-in driver's way to one PCI function, in host time that the test moves. */
export class FunctionAccess implements GuestAccess, FunctionPart {
  readonly name: string;
  readonly #fn: PciFunction;
  readonly #options: FunctionAccessOptions;
  readonly #waits = new Set<(end: WaitEnd) => void>();
  #slot: ReturnType<MessageSource['allocate']> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(fn: PciFunction, options: FunctionAccessOptions) {
    this.name = options.name;
    this.#fn = fn;
    this.#options = options;
    fn.addPart(PART, this);
  }

  configRead(offset: number, size: 1 | 2 | 4): number {
    return this.#fn.readConfig(offset, size);
  }
  configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    this.#fn.writeConfig(offset, size, value);
  }
  mmioRead(bar: number, offset: number, size: AccessSize): bigint {
    return this.#fn.readBar(bar, offset, size);
  }
  mmioWrite(bar: number, offset: number, size: AccessSize, value: bigint): void {
    this.#fn.writeBar(bar, offset, size, value);
  }

  message(): { readonly address: bigint; readonly data: number } {
    this.#slot ??= this.#options.messages.allocate(() => this.#end('message'));
    return this.#slot;
  }

  wait(
    {
      timeoutMs,
      signal,
    }: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
    start: () => void,
  ): Promise<WaitEnd> {
    if (this.#closed) return Promise.resolve('removed');
    if (signal?.aborted === true) return Promise.resolve('aborted');
    return new Promise((resolve) => {
      const abort = (): void => end('aborted');
      const end = (why: WaitEnd): void => {
        this.#waits.delete(end);
        signal?.removeEventListener('abort', abort);
        cancel();
        resolve(why);
      };
      const cancel = this.#options.after(timeoutMs, () => end('timeout'));
      signal?.addEventListener('abort', abort);
      this.#waits.add(end);
      start();
    });
  }

  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work, work);
    this.#last = run;
    return run;
  }

  reset(): void {
    this.#end('reset');
  }

  close(): void {
    this.#closed = true;
    this.#end('removed');
    this.#slot?.release();
    this.#slot = undefined;
  }

  #end(why: WaitEnd): void {
    for (const end of [...this.#waits]) end(why);
  }
}
