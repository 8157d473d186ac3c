import type { EventData, EventDef } from '../../schema/lang.js';
import { Reset, Resume, Shutdown, Stop } from '../../schema/control.js';
import { refused } from '../../schema/error.js';
import type { VirtualClock } from './virtual-clock.js';

export type RunStatus =
  'inmigrate' | 'prelaunch' | 'running' | 'paused' | 'shutdown' | 'finish-migrate' | 'postmigrate';
/** How a machine can come in. */
export const ARRIVING = ['running', 'paused', 'prelaunch', 'shutdown'] as const;
export type ArrivingStatus = (typeof ARRIVING)[number];
export type ShutdownReason = 'host-qmp-quit' | 'host-signal' | 'host-qmp-system-reset';

type Emit = <E extends EventDef>(event: E, data: EventData<E>) => void;

/** Whether a machine runs, and the events that tell of it (reference/qmp-protocol.md §5.4). */
export class RunState {
  #status: RunStatus = 'prelaunch';
  /** Of a machine in the last phase of a migration: where it was. */
  #before: RunStatus = 'prelaunch';
  /** Of a machine that waits for a migration: whether it is to run afterwards. */
  #runsLater = true;
  readonly #clock: VirtualClock;
  readonly #emit: Emit;
  readonly #hooks = new Set<(status: RunStatus) => void>();

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
  /** Where a machine was before the last phase of a migration. */
  get statusBefore(): RunStatus {
    return this.#before;
  }
  /** Calls `hook` after every change of the status; returns the unsubscribe. */
  onChange(hook: (status: RunStatus) => void): () => void {
    this.#hooks.add(hook);
    return () => void this.#hooks.delete(hook);
  }
  /** Starts without an event, as a machine does that was not told to wait. */
  begin(): void {
    this.#clock.start();
    this.#become('running');
  }
  /**
   * @throws QmpError after a shutdown that left the machine in place, until it is reset, and while
   * a migration is about to take the machine away
   */
  cont(): void {
    if (this.running) return;
    if (this.#status === 'shutdown') throw refused('Resetting the Virtual Machine is required');
    if (this.#status === 'finish-migrate') throw refused('Migration is not finalized yet');
    if (this.#status === 'inmigrate') this.#runsLater = true;
    else this.#resume();
  }
  /** As QEMU: a machine that has not started yet stays in `prelaunch`. */
  stop(): void {
    if (this.#status === 'inmigrate') this.#runsLater = false;
    if (this.running) this.#pause('paused');
  }
  /** Tells of a reset; as QEMU, a machine reset while stopped is back in `prelaunch`. */
  reset(): void {
    this.#emit(Reset, { guest: false, reason: 'host-qmp-system-reset' });
    if (!this.running && !this.#migrates) this.#become('prelaunch');
  }
  /** A shutdown that keeps the machine, as with `set-action shutdown=pause`. */
  shutdownAndPause(reason: ShutdownReason): void {
    this.shutdown(reason);
    if (this.running) this.#pause('shutdown');
  }
  shutdown(reason: ShutdownReason): void {
    this.#emit(Shutdown, { guest: false, reason });
  }

  /** The machine waits for a migration. @param runsLater whether it is to run then (no `-S`) */
  awaitMigration(runsLater: boolean): void {
    this.#runsLater = runsLater;
    this.#become('inmigrate');
  }
  /** The machine came in, from a source that had this status. */
  arrive(from: ArrivingStatus): void {
    if (from !== 'running') this.#become(from);
    else if (this.#runsLater) this.#resume();
    else this.#become('paused');
  }
  /**
   * The last phase of an outgoing migration: the machine stands still.
   *
   * @returns what brings it back to where it was, or, for `true`, leaves it behind
   */
  finishMigrate(): (gone: boolean) => void {
    const before = this.#status;
    this.#before = before;
    if (this.running) this.#pause('finish-migrate');
    else this.#become('finish-migrate');
    return (gone) => {
      if (this.#status !== 'finish-migrate') return;
      if (gone) this.#become('postmigrate');
      else if (before === 'running') this.#resume();
      else this.#become(before);
    };
  }

  get #migrates(): boolean {
    return this.#status === 'inmigrate' || this.#status === 'finish-migrate';
  }
  #resume(): void {
    this.begin();
    this.#emit(Resume, {});
  }
  #pause(status: RunStatus): void {
    this.#clock.stop();
    this.#become(status);
    this.#emit(Stop, {});
  }
  #become(status: RunStatus): void {
    this.#status = status;
    for (const hook of this.#hooks) hook(status);
  }
}
