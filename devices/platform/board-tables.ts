import type { PciFunction } from '../pci/function.js';
import type { BoardFunctionSpec } from './board-function.js';

/**
 * The functions that pc and q35 bring, as their configuration space reads after reset.
 *
 * @see reference/pci-and-memory-devices.md §1.11; bytes beyond the header as QEMU shows them
 */
const KiB = 1024n;
const MiB = 1024n * KiB;
const INTEL = 0x8086;

const memory = (index: number, size: bigint, prefetch = false) =>
  ({ index, size, kind: { type: 'memory', prefetch } }) as const;
const io = (index: number, size: bigint) => ({ index, size, kind: { type: 'io' } }) as const;
const ROM = 6;

/** Interrupt routing registers that route nowhere. */
const UNROUTED = 0x80;
const pirqs = (...offsets: number[]): Record<number, number> =>
  Object.fromEntries(offsets.map((offset) => [offset, UNROUTED]));

const vga = (devfn: number): BoardFunctionSpec => ({
  typeName: 'VGA',
  devfn,
  path: 'unattached',
  identity: { vendorId: 0x1234, deviceId: 0x1111, revision: 2, classCode: 0x0300, express: false },
  bars: [memory(0, 16n * MiB, true), memory(2, 4n * KiB), memory(ROM, 64n * KiB)],
});

export interface BoardTableOptions {
  readonly defaults: boolean;
  readonly ramSize: bigint;
}

/** PIIX3 and PIIX4: first PIRQ routing register. */
export const PIRQ_ROUTE = 0x60;
/** ICH9: routing registers of lines 4 to 7. */
export const PIRQ_ROUTE_HIGH = 0x68;

/** In units of 8 MiB, as far as a byte goes. */
const ramUnits = (ramSize: bigint): number => {
  const units = ramSize / (8n * MiB);
  return units > 0xffn ? 0xff : Number(units);
};

export const pcFunctions = ({ defaults, ramSize }: BoardTableOptions): BoardFunctionSpec[] => [
  {
    typeName: 'i440FX',
    devfn: 0x00,
    path: 'unattached',
    identity: { vendorId: INTEL, deviceId: 0x1237, revision: 2, classCode: 0x0600, express: false },
    reset: { 0x57: ramUnits(ramSize), 0x72: 0x02 },
  },
  {
    typeName: 'PIIX3',
    devfn: 0x08,
    path: 'unattached',
    identity: { vendorId: INTEL, deviceId: 0x7000, revision: 0, classCode: 0x0601, express: false },
    multifunction: true,
    status: 0x0200,
    reset: {
      ...{ 0x4c: 0x4d, 0x4e: 0x03, 0x69: 0x02, 0x70: 0x80, 0x76: 0x0c, 0x77: 0x0c, 0x78: 0x02 },
      ...{ 0xa0: 0x08, 0xa8: 0x0f },
      ...pirqs(0x60, 0x61, 0x62, 0x63),
    },
  },
  ...(defaults ? [vga(0x10), e1000] : []),
  {
    typeName: 'piix3-ide',
    devfn: 0x09,
    path: 'unattached',
    identity: {
      ...{ vendorId: INTEL, deviceId: 0x7010, revision: 0, classCode: 0x0101, express: false },
      progIf: 0x80,
    },
    status: 0x0280,
    bars: [io(4, 16n)],
  },
  {
    typeName: 'PIIX4_PM',
    devfn: 0x0b,
    path: 'unattached',
    identity: {
      ...{ vendorId: INTEL, deviceId: 0x7113, revision: 3, classCode: 0x0680, express: false },
      interruptPin: 1,
    },
    status: 0x0280,
    // 0x5f and 0x67 tell of a parallel and a serial port.
    reset: {
      ...{ 0x40: 0x01, 0x5f: defaults ? 0x90 : 0x10, 0x63: 0x60, 0x67: defaults ? 0x08 : 0 },
      ...{ 0x90: 0x01, 0x91: 0xb1, 0xd2: 0x09 },
    },
  },
];

const e1000: BoardFunctionSpec = {
  typeName: 'e1000',
  devfn: 0x18,
  path: 'unattached',
  identity: {
    ...{ vendorId: INTEL, deviceId: 0x100e, revision: 3, classCode: 0x0200, express: false },
    interruptPin: 1,
  },
  bars: [memory(0, 128n * KiB), io(1, 64n), memory(ROM, 256n * KiB)],
  removable: true,
};

export const q35Functions = ({ defaults }: BoardTableOptions): BoardFunctionSpec[] => [
  {
    typeName: 'mch',
    devfn: 0x00,
    path: 'host/mch',
    identity: { vendorId: INTEL, deviceId: 0x29c0, revision: 0, classCode: 0x0600, express: false },
    reset: { 0x50: 0x10, 0x9d: 0x02, 0x9e: 0x38 },
  },
  {
    typeName: 'ICH9-LPC',
    devfn: 0xf8,
    path: 'unattached',
    identity: { vendorId: INTEL, deviceId: 0x2918, revision: 2, classCode: 0x0601, express: false },
    multifunction: true,
    // 0x82 tells of a serial and a parallel port.
    reset: {
      ...{ 0x40: 0x01, 0x82: defaults ? 0x05 : 0 },
      ...pirqs(0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b),
    },
  },
  {
    typeName: 'ich9-ahci',
    devfn: 0xfa,
    path: 'unattached',
    identity: {
      ...{ vendorId: INTEL, deviceId: 0x2922, revision: 2, classCode: 0x0106, express: false },
      ...{ progIf: 1, interruptPin: 1 },
    },
    multifunction: true,
    bars: [io(4, 32n), memory(5, 4n * KiB)],
    capabilities: ahciCapabilities,
    reset: { 0x90: 0x40 },
  },
  {
    typeName: 'ICH9-SMB',
    devfn: 0xfb,
    path: 'unattached',
    identity: {
      ...{ vendorId: INTEL, deviceId: 0x2930, revision: 2, classCode: 0x0c05, express: false },
      interruptPin: 1,
    },
    multifunction: true,
    bars: [io(4, 64n)],
  },
  ...(defaults ? [vga(0x08), e1000e] : []),
];

/** SATA capability: index and data registers in BAR 4. SATA 3.0 §13.10. */
const SATA_CAPABILITY = 0x12;

/** One-vector MSI with a 64-bit address; nothing ever raises it. */
const idleMsi = (fn: PciFunction, at: number): void => {
  fn.addCapability(0x05, 0x0e, at);
  fn.config.set(at + 2, 2, 0x0080);
  fn.config.setWritable(at + 2, 2, 0x0001);
  fn.config.setWritable(at + 4, 4, 0xffff_fffc);
  fn.config.setWritable(at + 8, 4, 0xffff_ffff);
  fn.config.setWritable(at + 0xc, 2, 0xffff);
};

function ahciCapabilities(fn: PciFunction): void {
  fn.addCapability(SATA_CAPABILITY, 8, 0xa8);
  fn.config.set(0xaa, 2, 0x0010);
  fn.config.set(0xac, 4, 0x48);
  idleMsi(fn, 0x80);
}

/** Capabilities of the 82574L: power management, MSI, PCI Express version 1, MSI-X, AER, serial number. */
function e1000eCapabilities(fn: PciFunction): void {
  const { config } = fn;
  fn.addCapability(0x11, 12, 0xa0);
  config.set(0xa2, 2, 0x0004);
  config.setWritable(0xa2, 2, 0xc000);
  config.set(0xa4, 4, 0x0003);
  config.set(0xa8, 4, 0x2003);
  fn.addCapability(0x10, 0x14, 0xe0);
  config.set(0xe2, 2, 0x0091);
  config.set(0xe4, 4, 0x8000);
  config.set(0xec, 4, 0x0411);
  config.set(0xf2, 2, 0x0011);
  idleMsi(fn, 0xd0);
  fn.addCapability(0x01, 8, 0xc8);
  config.set(0xca, 2, 0x0022);
  config.setWritable(0xcc, 2, 0x1f03);
  // The serial number follows before the usual end of AER.
  fn.addExtendedCapability(0x0001, 2, 0x40, 0x100);
  config.set(0x10c, 4, 0x0046_2030);
  config.set(0x114, 4, 0xe000);
  config.set(0x118, 4, 0xa0);
  fn.addExtendedCapability(0x0003, 1, 0x0c, 0x140);
  config.set(0x144, 4, 0xff12_3456);
  config.set(0x148, 4, 0x5254_00ff);
}

const e1000e: BoardFunctionSpec = {
  typeName: 'e1000e',
  devfn: 0x10,
  path: 'unattached',
  identity: {
    ...{ vendorId: INTEL, deviceId: 0x10d3, revision: 0, classCode: 0x0200, express: true },
    ...{ subsystemVendorId: INTEL, subsystemId: 0, interruptPin: 1 },
  },
  bars: [
    memory(0, 128n * KiB),
    memory(1, 128n * KiB),
    io(2, 32n),
    memory(3, 16n * KiB),
    memory(ROM, 256n * KiB),
  ],
  capabilities: e1000eCapabilities,
};
