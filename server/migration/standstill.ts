import { refused } from '../../schema/error.js';
import type { Machine } from '../machine/machine.js';

/**
 * A device that is held while it is saved migrates all the same: it stands still for both.
 *
 * @throws QmpError naming a device in state STOP, which it could not be in there
 */
export const checkActive = (machine: Machine): void => {
  for (const { id, object, state } of machine.devices.entries)
    if (state.isStopped)
      throw refused(
        `Device '${id ?? object.path}' is stopped: it must run while its machine migrates`,
      );
};

/** Stops every device of a machine, until what is returned is called. */
export const holdDevices = (machine: Machine): (() => void) => {
  const releases = [...machine.devices.entries].map(({ activity }) => activity.hold());
  return () => {
    for (const release of releases) release();
  };
};

const GONE =
  'the machine has migrated: let it run here (cont) before its memory and registers change';

/**
 * The last phase of an outgoing migration: nothing of the machine changes, and what the guest side
 * asks for waits for the outcome.
 */
export class Standstill {
  readonly #machine: Machine;
  readonly #leave: (gone: boolean) => void;
  readonly #release: () => void;

  /** Begins it, with STOP if the machine ran. @throws QmpError when a device is stopped already */
  constructor(machine: Machine) {
    checkActive(machine);
    this.#machine = machine;
    machine.migration.gate.hold();
    this.#leave = machine.runState.finishMigrate();
    this.#release = holdDevices(machine);
  }

  /** The machine stays: it goes on as it was, with RESUME if it ran. */
  goOn(): void {
    this.#release();
    this.#leave(false);
    this.#machine.migration.gate.open();
  }
  /** The machine has left. What is here stands still until somebody lets it run or resets it. */
  stay(): void {
    const { migration, runState } = this.#machine;
    this.#leave(true);
    migration.gate.refuse(GONE);
    const unhook = runState.onChange(() => {
      unhook();
      this.#release();
      migration.gate.open();
    });
  }
}
