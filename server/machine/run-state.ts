import type { EventData, EventDef } from '../../schema/lang.js';
import { Reset, Resume, Shutdown, Stop } from '../../schema/control.js';
import { refused } from '../../schema/error.js';
import type { VirtualClock } from './virtual-clock.js';

export type RunStatus = 'inmigrate' | 'prelaunch' | 'running' | 'paused' | 'shutdown';
export type ShutdownReason = 'host-qmp-quit' | 'host-signal' | 'host-qmp-system-reset';

type Emit = <E extends EventDef>(event: E, data: EventData<E>) => void;

/** Whether a machine runs, and the events that tell of it (reference/qmp-protocol.md §5.4). */
export class RunState {
  #status: RunStatus = 'prelaunch';
  readonly #clock: VirtualClock;
  readonly #emit: Emit;

  constructor(clock: VirtualClock, emit: Emit) {
    this.#clock = clock;
    this.#emit = emit;
  }

  get status(): RunStatus {
    return this.#status;
  }
  get running(): boolean {
    return this.#status === 'running';
  }
  /** Starts without an event, as a machine does that was not told to wait. */
  begin(): void {
    this.#status = 'running';
    this.#clock.start();
  }
  /** @throws QmpError after a shutdown that left the machine in place, until it is reset */
  cont(): void {
    if (this.running) return;
    if (this.#status === 'shutdown') throw refused('Resetting the Virtual Machine is required');
    this.begin();
    this.#emit(Resume, {});
  }
  /** As QEMU: a machine that has not started yet stays in `prelaunch`. */
  stop(): void {
    if (!this.running) return;
    this.#status = 'paused';
    this.#clock.stop();
    this.#emit(Stop, {});
  }
  /** Tells of a reset; as QEMU, a machine reset while stopped is back in `prelaunch`. */
  reset(): void {
    this.#emit(Reset, { guest: false, reason: 'host-qmp-system-reset' });
    if (!this.running) this.#status = 'prelaunch';
  }
  /** A shutdown that keeps the machine, as with `set-action shutdown=pause`. */
  shutdownAndPause(reason: ShutdownReason): void {
    this.shutdown(reason);
    if (!this.running) return;
    this.#status = 'shutdown';
    this.#clock.stop();
    this.#emit(Stop, {});
  }
  shutdown(reason: ShutdownReason): void {
    this.#emit(Shutdown, { guest: false, reason });
  }
}
