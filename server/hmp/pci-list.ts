import { queryPci } from '../../devices/pci/info.js';
import type { PciBridgeInfo, PciDeviceInfo } from '../../schema/pci.js';
import type { Machine } from '../machine/machine.js';

/** `info pci`: what `query-pci` says, in the layout of QEMU. */

type Region = PciDeviceInfo['regions'][number];

/** As C prints 64 bits: -1 is all ones. */
const hex = (value: bigint, digits: number): string =>
  `0x${BigInt.asUintN(64, value).toString(16).padStart(digits, '0')}`;
const plainHex = (value: bigint, digits: number): string =>
  value.toString(16).padStart(digits, '0');
const span = ({ base, limit }: { base: bigint; limit: bigint }, digits: number): string =>
  `[${hex(base, digits)}, ${hex(limit, digits)}]`;

const describeRegion = ({ bar, type, address, size, ...memory }: Region): string => {
  const end = address + size - 1n;
  if (type === 'io')
    return `      BAR${String(bar)}: I/O at ${hex(address, 4)} [${hex(end, 4)}].\n`;
  const bits = memory.mem_type_64 === true ? '64 bit' : '32 bit';
  const kind = memory.prefetch === true ? `${bits} prefetchable memory` : `${bits} memory`;
  return `      BAR${String(bar)}: ${kind} at ${hex(address, 8)} [${hex(end, 8)}].\n`;
};

const describeBridge = ({ bus }: PciBridgeInfo): string =>
  [
    `BUS ${String(bus.number)}.`,
    `secondary bus ${String(bus.secondary)}.`,
    `subordinate bus ${String(bus.subordinate)}.`,
    `IO range ${span(bus.io_range, 4)}`,
    `memory range ${span(bus.memory_range, 8)}`,
    `prefetchable memory range ${span(bus.prefetchable_range, 8)}`,
  ]
    .map((line) => `      ${line}\n`)
    .join('');

const describeFunction = (fn: PciDeviceInfo): string => {
  const { class_info: kind, id, irq, pci_bridge: bridge } = fn;
  const vendor = `${plainHex(id.vendor, 4)}:${plainHex(id.device, 4)}`;
  const place = `${String(fn.bus).padStart(2)}, device ${String(fn.slot).padStart(3)}`;
  const subsystem =
    id['subsystem-vendor'] === undefined || id.subsystem === undefined
      ? ''
      : `      PCI subsystem ${plainHex(id['subsystem-vendor'], 4)}:${plainHex(id.subsystem, 4)}\n`;
  const pin = String.fromCharCode('A'.charCodeAt(0) + Number(fn.irq_pin) - 1);
  return [
    `  Bus ${place}, function ${String(fn.function)}:\n`,
    `    ${kind.desc ?? `Class ${plainHex(kind.class, 4)}`}: PCI device ${vendor}\n`,
    subsystem,
    irq === undefined ? '' : `      IRQ ${String(irq)}, pin ${pin}\n`,
    bridge === undefined ? '' : describeBridge(bridge),
    ...fn.regions.map(describeRegion),
    `      id "${fn.qdev_id}"\n`,
    ...(bridge?.devices ?? []).map(describeFunction),
  ].join('');
};

export const pciList = ({ platform }: Machine): string =>
  queryPci(platform.roots)
    .flatMap(({ devices }) => devices)
    .map(describeFunction)
    .join('');
