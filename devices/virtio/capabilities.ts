import { AddressSpace } from '../core/address-space.js';
import type { MemoryRegion } from '../core/memory-region.js';
import { addVendorCapability } from '../pci/capabilities.js';
import type { PciFunction } from '../pci/function.js';
import { CAPABILITY_TYPE, NOTIFY_MULTIPLIER, PART, PART_SIZE } from './registers.js';

/** What a vendor capability points to. Virtio 1.2 §4.1.4 */
interface Pointer {
  readonly type: number;
  readonly bar: number;
  readonly shmid?: number;
  readonly offset: bigint;
  readonly length: bigint;
  /** Bytes behind the offset and the length. */
  readonly extra?: number;
}
/** Bytes in front of the body that `addVendorCapability` takes. */
const HEAD = 3;
const SIZE = 16;

const addPointer = (fn: PciFunction, pointer: Pointer): number => {
  const { type, bar, shmid = 0, offset, length, extra = 0 } = pointer;
  const body = new Uint8Array(SIZE - HEAD + extra);
  const view = new DataView(body.buffer);
  body.set([type, bar, shmid]);
  view.setUint32(8 - HEAD, Number(BigInt.asUintN(32, offset)), true);
  view.setUint32(12 - HEAD, Number(BigInt.asUintN(32, length)), true);
  if (type === CAPABILITY_TYPE.SHARED_MEMORY) {
    view.setUint32(16 - HEAD, Number(offset >> 32n), true);
    view.setUint32(20 - HEAD, Number(length >> 32n), true);
  }
  return addVendorCapability(fn, body);
};

/**
 * Adds the pointers to the parts of the register BAR, in QEMU's order.
 *
 * @returns offset of the access window, for `openAccessWindow`
 */
export const addRegisterPointers = (fn: PciFunction, bar: number): number => {
  const part = (type: number, offset: number, extra = 0): number =>
    addPointer(fn, { type, bar, extra, offset: BigInt(offset), length: BigInt(PART_SIZE) });
  part(CAPABILITY_TYPE.COMMON, PART.COMMON);
  part(CAPABILITY_TYPE.ISR, PART.ISR);
  part(CAPABILITY_TYPE.DEVICE, PART.DEVICE);
  const notify = part(CAPABILITY_TYPE.NOTIFY, PART.NOTIFY, 4);
  fn.config.set(notify + SIZE, 4, NOTIFY_MULTIPLIER);
  const window = { type: CAPABILITY_TYPE.PCI_ACCESS, bar: 0, offset: 0n, length: 0n, extra: 4 };
  return addPointer(fn, window);
};

/** Adds the pointer to one region of shared memory, in bytes of a BAR. Virtio 1.2 §4.1.4.7 */
export const addRegionPointer = (
  fn: PciFunction,
  region: {
    readonly bar: number;
    readonly shmid: number;
    readonly offset: bigint;
    readonly size: bigint;
  },
): void => {
  const { bar, shmid, offset, size } = region;
  const type = CAPABILITY_TYPE.SHARED_MEMORY;
  addPointer(fn, { type, bar, shmid, offset, length: size, extra: 8 });
};

/**
 * Access to the register BAR by configuration cycles alone, for software that cannot map it yet.
 *
 * @see Virtio 1.2 §4.1.4.9
 */
export const openAccessWindow = (
  fn: PciFunction,
  at: number,
  { bar, registers }: { readonly bar: number; readonly registers: MemoryRegion },
): void => {
  const { config } = fn;
  const space = new AddressSpace(registers, 'zeros');
  const data = at + SIZE;
  config.setWritable(at + 4, 1, 0xff);
  for (const register of [at + 8, at + 12, data]) config.setWritable(register, 4, 0xffff_ffff);
  const target = (
    offset: number,
    size: number,
  ): { address: bigint; length: 1 | 2 | 4 } | undefined => {
    if (offset >= data + 4 || offset + size <= data) return undefined;
    const length = [1, 2, 4].find((width) => width === config.get(at + 12, 4));
    if (length === undefined || config.get(at + 4, 1) !== bar) return undefined;
    return { address: BigInt(config.get(at + 8, 4)), length: length as 1 | 2 | 4 };
  };
  fn.onConfigRead((offset, size) => {
    const found = target(offset, size);
    if (found !== undefined)
      config.set(data, found.length, Number(space.read(found.address, found.length)));
  });
  fn.onConfigWrite((offset, size) => {
    const found = target(offset, size);
    if (found !== undefined)
      space.write(found.address, found.length, BigInt(config.get(data, found.length)));
  });
};
