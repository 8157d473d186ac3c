import type { StateValue } from '../core/device.js';
import { bytes, fields, flag, part } from '../core/saved-state.js';
import type { InterruptSource } from './interrupt-counts.js';

/** A part of a function with state of its own, such as MSI-X. */
export interface FunctionPart {
  reset?(): void;
  /** Command register, power or place of the function changed. */
  update?(): void;
  save?(): StateValue;
  /** For a part by which the function interrupts: what became of that. */
  interrupts?(): InterruptSource;
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad?(state: StateValue | undefined): () => void;
  close?(): void;
}

/**
 * A function as it is saved.
 *
 * @param size bytes of its configuration space
 */
export const savedFunction = (size: number, parts: ReadonlyMap<string, FunctionPart>) => {
  const saving = [...parts].filter(([, { save }]) => save !== undefined);
  return fields({
    config: bytes(size),
    line: flag,
    powered: flag,
    parts: fields(Object.fromEntries(saving.map(([name]) => [name, part]))),
  });
};
