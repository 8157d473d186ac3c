import { enumerate } from '../../devices/platform/firmware/enumerate.js';
import type { EnumeratedFunction } from '../../devices/platform/firmware/enumerate.js';
import { refused } from '../../schema/error.js';
import type { GuestEnumeration, GuestFunction } from '../../schema/guest.js';
import type { Infer } from '../../schema/lang.js';
import { checkActive } from './device-entry.js';
import type { Machine } from './machine.js';

const GIB4 = 1n << 32n;
/** Nothing that is mapped at a fixed place is as large; the space of BARs itself is. */
const WHOLE = 1n << 63n;

/**
 * Enumerates PCI as the firmware of the machine does, through its ports alone.
 *
 * @throws QmpError when the machine has no PCI, or a device is stopped: it would not take its place
 */
export const runFirmware = (machine: Machine): Infer<typeof GuestEnumeration> => {
  const { platform } = machine;
  const { kind } = platform;
  if (kind === 'none') throw refused('The machine has no PCI host');
  for (const entry of machine.devices.entries) if (entry.pci !== undefined) checkActive(entry);
  const { ecam, assigned, functions, unassigned } = enumerate({
    kind,
    ports: platform.io,
    ramSize: machine.options.ramSize,
    roots: platform.roots.map(({ number }) => number),
    highBase: highBase(machine),
  });
  return {
    ...(ecam === undefined ? {} : { ecam }),
    assigned,
    functions: functions.map((fn) => describe(machine, fn)),
    unassigned: unassigned.map(({ bus, devfn, bar, reason }) => ({
      ...place(bus, devfn),
      ...(bar === undefined ? {} : { bar }),
      reason,
    })),
  };
};

/** Behind RAM, the room for memory modules, and windows that the board maps above 4 GiB. */
const highBase = ({ memorySlots, platform }: Machine): bigint =>
  platform.memory.root.subregions
    .filter(({ region, offset }) => offset >= GIB4 && region.size < WHOLE)
    .reduce((high, { region, offset }) => {
      const end = offset + region.size;
      return end > high ? end : high;
    }, memorySlots.end);

const place = (
  bus: number,
  devfn: number,
): Pick<Infer<typeof GuestFunction>, 'bus' | 'slot' | 'function'> => ({
  bus,
  slot: devfn >> 3,
  function: devfn & 7,
});

const describe = (
  { platform }: Machine,
  { bus, devfn, vendor, device, bars, bridge }: EnumeratedFunction,
): Infer<typeof GuestFunction> => {
  const id = platform.findFunction(bus, devfn)?.id;
  return {
    ...(id === undefined ? {} : { device: id }),
    ...place(bus, devfn),
    id: { vendor: BigInt(vendor), device: BigInt(device) },
    bars: bars.map((bar) => ({ ...bar })),
    ...(bridge === undefined
      ? {}
      : {
          bridge: {
            secondary: bridge.secondary,
            subordinate: bridge.subordinate,
            ...bridge.windows,
          },
        }),
  };
};
