import { refused } from '../../schema/error.js';
import type { QmpError } from '../../schema/error.js';
import type { PciBus } from './bus.js';
import type { PciFunction } from './function.js';

export interface AddressRequest {
  /** devfn, or -1 for the lowest free slot. */
  readonly addr: number;
  readonly multifunction: boolean;
  readonly hotplugged: boolean;
}

const FUNCTIONS = 8;
const DEVFNS = 256;

const slotOf = (devfn: number): number => devfn >> 3;
const functionOf = (devfn: number): number => devfn & 7;

/**
 * Picks the devfn for `fn` on `bus`.
 *
 * @throws QmpError as reference/pci-and-memory-devices.md §1.13 and §3.4 say
 */
export const chooseAddress = (bus: PciBus, fn: PciFunction, request: AddressRequest): number => {
  const devfn = request.addr < 0 ? firstFree(bus, fn) : checkFree(bus, fn, request.addr);
  if (request.hotplugged) checkExposed(bus, fn, devfn);
  checkFunctions(bus, devfn, request.multifunction);
  return devfn;
};

const firstFree = (bus: PciBus, fn: PciFunction): number => {
  for (let devfn = 0; devfn < DEVFNS; devfn += FUNCTIONS)
    if (bus.function(devfn) === undefined && !bus.isReserved(slotOf(devfn))) return devfn;
  throw refused(`PCI: no slot/function available for ${fn.typeName}, all in use or reserved`);
};

const checkFree = (bus: PciBus, fn: PciFunction, devfn: number): number => {
  const taken = bus.function(devfn);
  const reason = bus.isReserved(slotOf(devfn))
    ? 'reserved'
    : taken && `in use by ${taken.typeName},id=${taken.id ?? '(null)'}`;
  if (reason === undefined) return devfn;
  throw refused(
    `PCI: slot ${String(slotOf(devfn))} function ${String(functionOf(devfn))} not available for ` +
      `${fn.typeName}, ${reason}`,
  );
};

/** A guest looks at a slot once, when function 0 appears: later functions would go unseen. */
const checkExposed = (bus: PciBus, fn: PciFunction, devfn: number): void => {
  const zero = bus.functionZero(devfn);
  if (zero === undefined) return;
  throw refused(
    `PCI: slot ${String(zero.slot)} function ${String(functionOf(zero.devfn))} already occupied ` +
      `by ${zero.typeName}, new func ${fn.typeName} cannot be exposed to guest.`,
  );
};

const checkFunctions = (bus: PciBus, devfn: number, multifunction: boolean): void => {
  const first = devfn - functionOf(devfn);
  if (devfn !== first) {
    const zero = bus.function(first);
    if (zero !== undefined && !zero.multifunction) throw singleFunction(devfn);
    return;
  }
  if (multifunction) return;
  const slot = slotOf(devfn).toString(16);
  for (let other = devfn + 1; other < devfn + FUNCTIONS; other++)
    if (bus.function(other) !== undefined)
      throw refused(
        `PCI: ${slot}.0 indicates single function, but ${slot}.${functionOf(other).toString(16)} ` +
          'is already populated.',
      );
};

const singleFunction = (devfn: number): QmpError =>
  refused(
    "PCI: single function device can't be populated in function " +
      `${slotOf(devfn).toString(16)}.${functionOf(devfn).toString(16)}`,
  );
