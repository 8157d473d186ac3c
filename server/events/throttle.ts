import type { HostTimer } from '../../devices/core/host-timer.js';
import type { EventDef } from '../../schema/lang.js';

const WINDOW_MS = 1000;

interface Window {
  latest: (() => void) | undefined;
  cancel: () => void;
}

/**
 * Rate limit of some events: the first of a window passes at once, of the others only the latest,
 * when the window ends.
 *
 * @see reference/qmp-protocol.md §5.2
 */
export class Throttle {
  readonly #timer: HostTimer;
  readonly #windows = new Map<string, Window>();

  constructor(timer: HostTimer) {
    this.#timer = timer;
  }

  /** Calls `publish` now, at the end of the window, or never. */
  pass(definition: EventDef, data: Readonly<Record<string, unknown>>, publish: () => void): void {
    const { throttle, name } = definition;
    if (throttle === undefined) {
      publish();
      return;
    }
    const key = throttle.key === undefined ? name : `${name} ${String(data[throttle.key])}`;
    const window = this.#windows.get(key);
    if (window !== undefined) window.latest = publish;
    else {
      this.#open(key);
      publish();
    }
  }

  #open(key: string): void {
    const cancel = this.#timer.after(WINDOW_MS, () => this.#end(key));
    this.#windows.set(key, { latest: undefined, cancel });
  }

  #end(key: string): void {
    const latest = this.#windows.get(key)?.latest;
    this.#windows.delete(key);
    if (latest === undefined) return;
    this.#open(key);
    latest();
  }

  /** Forgets what is held back. */
  close(): void {
    for (const window of this.#windows.values()) window.cancel();
    this.#windows.clear();
  }
}
