import { addDvsec } from '../pci/capabilities.js';
import type { PciFunction } from '../pci/function.js';
import { CAPACITY_UNIT } from './addresses.js';

/**
 * The designated vendor-specific capabilities of CXL. Each function appends one to a function's
 * extended capabilities and returns its offset; offsets in comments are from its start.
 *
 * @see reference/cxl.md §2.1, §2.2; CXL 3.1 §8.1
 */

const CXL_VENDOR = 0x1e98;
const HEADER = 0x0a;
const ID = {
  DEVICE: 0,
  PORT_EXTENSIONS: 3,
  GPF_PORT: 4,
  GPF_DEVICE: 5,
  FLEX_BUS: 7,
  REGISTER_LOCATOR: 8,
} as const;

/** Adds a DVSEC of `size` bytes, all 0 but its headers. */
const addEmpty = (
  fn: PciFunction,
  [id, revision, size]: readonly [id: number, revision: number, size: number],
  at?: number,
): number => {
  const body = new Uint8Array(size - HEADER);
  const place = at === undefined ? {} : { at };
  return addDvsec(fn, { vendor: CXL_VENDOR, id, revision, body, ...place });
};

/** Static capacity that a device announces to a host that does not know decoders; 0 for none. */
export interface DeviceRanges {
  readonly first: bigint;
  /** Undefined: the device has one range. */
  readonly second: bigint | undefined;
}

/** CXL device registers. CXL 3.1 §8.1.3. */
const DEVICE = {
  SIZE: 0x3c,
  REVISION: 3,
  CAPABILITY: 0x0a,
  CONTROL: 0x0c,
  CONTROL_2: 0x10,
  STATUS_2: 0x12,
  LOCK: 0x14,
  RANGE_1: 0x18,
  RANGE_2: 0x28,
} as const;
/** Memory, initialised by hardware, one HDM range, I/O. */
const DEVICE_CAPABILITY = 0x001e;
const IO_ENABLED = 0x0002;
const CONTROL_WRITABLE = 0x4ffd;
const POWER_UP_COMPLETE = 0x0002;
/** Valid, active, media and class as CDAT says. */
const RANGE_VALID = 0x4b;
const UNITS = 0xf000_0000;
const ALL = 0xffff_ffff;

export const addDeviceDvsec = (fn: PciFunction, ranges: DeviceRanges): number => {
  const at = addEmpty(fn, [ID.DEVICE, DEVICE.REVISION, DEVICE.SIZE]);
  const { config } = fn;
  config.set(at + DEVICE.CAPABILITY, 2, DEVICE_CAPABILITY);
  config.set(at + DEVICE.CONTROL, 2, IO_ENABLED);
  config.set(at + DEVICE.STATUS_2, 2, POWER_UP_COMPLETE);
  config.setWritable(at + DEVICE.CONTROL, 2, CONTROL_WRITABLE);
  config.setWritable(at + DEVICE.CONTROL_2, 2, 0x000f);
  config.setWritable(at + DEVICE.LOCK, 2, 0x0001);
  setRange(fn, at + DEVICE.RANGE_1, ranges.first);
  setRange(fn, at + DEVICE.RANGE_2, ranges.second);
  return at;
};

/** Size high and low, base high and low. */
const setRange = (fn: PciFunction, at: number, size: bigint | undefined): void => {
  const { config } = fn;
  if (size !== undefined) {
    config.set(at, 4, Number(size >> 32n));
    const low = Number((size & 0xffff_ffffn) / CAPACITY_UNIT) * Number(CAPACITY_UNIT);
    config.set(at + 4, 4, low + RANGE_VALID);
  }
  config.setWritable(at + 8, 4, ALL);
  config.setWritable(at + 0xc, 4, UNITS);
};

/** Port extensions: power management initialised, alternative resources. CXL 3.1 §8.1.5. */
export const addPortExtensionsDvsec = (
  fn: PciFunction,
  { status = 0, at: place }: { readonly status?: number; readonly at?: number } = {},
): number => {
  const at = addEmpty(fn, [ID.PORT_EXTENSIONS, 0, 0x28], place);
  const { config } = fn;
  config.set(at + 0x0a, 2, status);
  config.setWritable(at + 0x0c, 2, 0x400f);
  config.setWritable(at + 0x0e, 2, 0xffff);
  for (const bases of [0x10, 0x14]) config.setWritable(at + bases, 4, 0xfff0_fff0);
  for (const high of [0x18, 0x1c]) config.setWritable(at + high, 4, ALL);
  return at;
};

/** Global persistent flush of a port: time-outs of both phases. CXL 3.1 §8.1.6. */
export const addGpfPortDvsec = (fn: PciFunction): number => {
  const at = addEmpty(fn, [ID.GPF_PORT, 0, 0x10]);
  for (const phase of [0x0c, 0x0e]) {
    fn.config.set(at + phase, 2, 1);
    fn.config.setWritable(at + phase, 2, 0x0f0f);
  }
  return at;
};

/** Global persistent flush of a device: 3 s, 51 mW in phase 2. CXL 3.1 §8.1.7. */
export const addGpfDeviceDvsec = (fn: PciFunction): number => {
  const at = addEmpty(fn, [ID.GPF_DEVICE, 0, 0x10]);
  fn.config.set(at + 0x0a, 2, 0x0603);
  fn.config.setWritable(at + 0x0a, 2, 0x0f0f);
  fn.config.set(at + 0x0c, 4, 0x33);
  fn.config.setWritable(at + 0x0c, 4, ALL);
  return at;
};

export interface FlexBusOptions {
  readonly capability: number;
  readonly control: number;
  readonly status: number;
  /** Bits of control that software may change; default none. */
  readonly writable?: number;
}
const MODIFIED_TS = 0xef;

/** Flex Bus port: the protocols that were trained. CXL 3.1 §8.1.8. */
export const addFlexBusDvsec = (fn: PciFunction, options: FlexBusOptions): number => {
  const at = addEmpty(fn, [ID.FLEX_BUS, 2, 0x20]);
  const { config } = fn;
  config.set(at + 0x0a, 2, options.capability);
  config.set(at + 0x0c, 2, options.control);
  config.setWritable(at + 0x0c, 2, options.writable ?? 0);
  config.set(at + 0x0e, 2, options.status);
  config.set(at + 0x10, 4, MODIFIED_TS);
  return at;
};

/** Where a block of registers lies. CXL 3.1 §8.1.9. */
export interface RegisterBlock {
  readonly bar: number;
  readonly kind: 'component' | 'device';
  /** Bytes from the start of the BAR; default 0. */
  readonly offset?: bigint;
}
const BLOCK_ID = { component: 1, device: 3 } as const;
const BLOCKS = 3;

/** Register locator with up to three blocks. */
export const addRegisterLocator = (fn: PciFunction, blocks: readonly RegisterBlock[]): number => {
  if (blocks.length > BLOCKS) throw new RangeError('a register locator has three blocks');
  const at = addEmpty(fn, [ID.REGISTER_LOCATOR, 0, 0x24]);
  for (const [i, { bar, kind, offset = 0n }] of blocks.entries()) {
    const entry = offset | BigInt(bar | (BLOCK_ID[kind] << 8));
    fn.config.set64(at + 0x0c + 8 * i, entry);
  }
  return at;
};
