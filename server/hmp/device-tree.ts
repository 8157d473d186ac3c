import type { PciBus } from '../../devices/pci/bus.js';
import { CLASS_NAMES } from '../../devices/pci/class-names.js';
import type { PciFunction } from '../../devices/pci/function.js';
import { CONFIG } from '../../devices/pci/registers.js';
import type { JsonValue } from '../../schema/json.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import type { Machine } from '../machine/machine.js';

/** `info qtree`: buses and the devices on them, newest first, in the layout of QEMU. */

const UNITS = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

/** A size as people read it, with three digits. */
export const readableSize = (bytes: bigint): string => {
  let unit = 0;
  // As QEMU: the next unit from 1000 of the one before on.
  while (unit < UNITS.length - 1 && bytes >= 1000n << BigInt(10 * unit)) unit++;
  const scaled = Number(bytes) / 2 ** (10 * unit);
  return `${String(Number(scaled.toPrecision(3)))} ${UNITS[unit] ?? ''}B`;
};

const hex = (value: number | bigint, digits: number): string =>
  value.toString(16).padStart(digits, '0');
const wide = (value: bigint): string => BigInt.asUintN(64, value).toString(16);

const slot = (devfn: number): string => `${hex(devfn >> 3, 2)}.${hex(devfn & 7, 1)}`;

const showValue = (qomType: string, value: JsonValue): string => {
  if (typeof value === 'string') return `"${value}"`;
  if (typeof value !== 'bigint') return String(value);
  const note = qomType === 'size' ? readableSize(value) : `0x${wide(value)}`;
  return `${String(value)} (${note})`;
};

const properties = ({ properties: bag, pci, device }: DeviceEntry): string[] =>
  Object.entries(bag.definitions).flatMap(([name, { link, qomType }]) => {
    if (link !== undefined) return [];
    if (name === 'addr' && pci !== undefined) return [`addr = ${slot(pci.pci.devfn)}`];
    const value = device.settled?.(name) ?? bag.show(name);
    return [`${name} = ${showValue(qomType, value)}`];
  });

const pciLines = ({ config, bars, devfn, bus }: PciFunction): string[] => {
  const code = config.get(CONFIG.CLASS, 2);
  const pair = (first: number, second: number): string =>
    `${hex(config.get(first, 2), 4)}:${hex(config.get(second, 2), 4)}`;
  const at = `${hex(bus?.number ?? 0, 2)}:${slot(devfn)}`;
  const sub = pair(CONFIG.SUBSYSTEM_VENDOR_ID, CONFIG.SUBSYSTEM_ID);
  const kind = CLASS_NAMES[code] ?? `Class ${hex(code, 4)}`;
  const id = pair(CONFIG.VENDOR_ID, CONFIG.DEVICE_ID);
  return [
    `class ${kind}, addr ${at}, pci id ${id} (sub ${sub})`,
    ...bars.map(({ index, type, address, size }) => {
      const name = type === 'io' ? 'i/o' : 'mem';
      return `bar ${String(index)}: ${name} at 0x${wide(address)} [0x${wide(address + size - 1n)}]`;
    }),
  ];
};

class DeviceTree {
  readonly #machine: Machine;
  #text = '';

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  print(): string {
    const { hosts, roots } = this.#machine.platform;
    this.#line(0, 'bus: main-system-bus');
    this.#line(2, 'type System');
    for (const root of roots) {
      const host = hosts.find(({ bus }) => bus === root);
      this.#line(2, `dev: ${host?.typeName ?? 'pxb-host'}, id ""`);
      this.#bus(root, 4);
    }
    return this.#text;
  }
  #line(indent: number, text: string): void {
    this.#text += `${' '.repeat(indent)}${text}\n`;
  }
  #bus(bus: PciBus, indent: number): void {
    this.#line(indent, `bus: ${bus.name}`);
    this.#line(indent + 2, `type ${bus.typeName}`);
    for (const fn of bus.arrivals.toReversed()) {
      const entry = this.#machine.devices.ofFunction(fn);
      if (entry !== undefined) this.#device(entry, fn, indent + 2);
    }
  }
  #device(entry: DeviceEntry, fn: PciFunction, indent: number): void {
    this.#line(indent, `dev: ${entry.type.name}, id "${entry.id ?? ''}"`);
    for (const line of [...properties(entry), ...pciLines(fn)]) this.#line(indent + 2, line);
    // An expander's own bus is the root bus of its own host.
    const below = entry.pci?.secondaryBus;
    if (below !== undefined && !this.#machine.platform.roots.includes(below))
      this.#bus(below, indent + 2);
  }
}

export const deviceTree = (machine: Machine): string => new DeviceTree(machine).print();
