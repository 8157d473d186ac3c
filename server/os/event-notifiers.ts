import { closeSync, readlinkSync, readSync, writeSync } from 'node:fs';
import type { EventNotifier, EventNotifiers } from '../../devices/core/event-notifier.js';
import { HostError } from '../../devices/core/host-memory.js';
import { READABLE } from './io.js';
import type { IoCalls, PollHandle } from './io.js';
import { nodeCall } from './libc.js';
import type { LoadNative } from './native.js';

type EventCalls = Pick<IoCalls, 'poll' | 'setNonBlocking'>;

const COUNTER_BYTES = 8;

/** Event counters by the native layer. */
export class NativeEventNotifiers implements EventNotifiers {
  readonly #load: LoadNative;

  constructor(load: LoadNative) {
    this.#load = load;
  }

  check(): void {
    this.#calls();
  }

  adopt(fd: number): EventNotifier {
    try {
      const calls = this.#calls();
      // Anything else might make a write wait, or end up with bytes in it.
      const kind = nodeCall(() => readlinkSync(`/proc/self/fd/${String(fd)}`));
      if (kind !== 'anon_inode:[eventfd]')
        throw new HostError('EINVAL', 'the descriptor is no event counter');
      // A full counter must not make us wait.
      calls.setNonBlocking(fd);
      return new EventCounter(calls, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  discard(fd: number): void {
    closeSync(fd);
  }

  #calls(): EventCalls {
    const calls = this.#load();
    if (calls !== undefined) return calls;
    throw new HostError(
      'ENOTSUP',
      'passing descriptors needs the optional package koffi, which is not available',
    );
  }
}

/** One, eight bytes long, as every host of ours writes it. */
const ONE = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

const isAgain = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EAGAIN';

class EventCounter implements EventNotifier {
  readonly #calls: EventCalls;
  readonly #fd: number;
  readonly #drained = Buffer.alloc(COUNTER_BYTES);
  #poll: PollHandle | undefined;
  #open = true;

  constructor(calls: EventCalls, fd: number) {
    this.#calls = calls;
    this.#fd = fd;
  }

  signal(): void {
    if (!this.#open) return;
    try {
      writeSync(this.#fd, ONE);
    } catch (error) {
      // The counter is full: whoever watches has plenty to notice.
      if (!isAgain(error)) throw error;
    }
  }

  watch(fire: () => void): void {
    if (!this.#open || this.#poll !== undefined)
      throw new Error('event counter is watched or closed');
    this.#poll = this.#calls.poll(this.#fd, READABLE, (status) => {
      if (status < 0) this.#poll?.close();
      else if (this.#drain()) fire();
    });
  }

  pause(paused: boolean): void {
    this.#poll?.set(paused ? 0 : READABLE);
  }

  /** False when somebody else was faster. */
  #drain(): boolean {
    try {
      return readSync(this.#fd, this.#drained) === COUNTER_BYTES;
    } catch (error) {
      if (isAgain(error)) return false;
      throw error;
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#poll?.close();
    closeSync(this.#fd);
  }
}
