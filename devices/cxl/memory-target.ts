import type { Device } from '../core/device.js';
import { Offer } from '../pci/offers.js';
import type { PciFunction } from '../pci/function.js';
import type { Dpa } from './addresses.js';
import type { ComponentRegisters } from './component-registers.js';

/**
 * Why an access of CXL memory did not happen; a guest then reads 0, and its writes are dropped.
 *
 * @see reference/cxl.md §3.3
 */
export type MemoryFault =
  /** No window, port or device leads there. */
  | 'no-route'
  /** A decoder on the way is not committed. */
  | 'not-committed'
  /** Outside every decoder of the device, or beyond its capacity. */
  | 'out-of-range'
  /** Dynamic capacity that was not accepted. */
  | 'unbacked'
  /** A block of a shared pool that belongs to another head. */
  | 'not-owner'
  | 'media-disabled'
  | 'poison';

/** What the data path needs of a memory device, found by what it offers. */
export interface CxlMemoryTarget {
  readonly pci: PciFunction;
  /** Its decoders turn a host address into a device address. */
  readonly component: ComponentRegisters;
  /**
   * One access of at most 8 bytes, or a longer run that is refused as a whole.
   *
   * @returns undefined when `into` was filled; else why not, with `into` unchanged or holding what
   *   the medium gives (zeros, random bytes)
   */
  readDpa(address: Dpa, into: Uint8Array): MemoryFault | undefined;
  /** @returns undefined when all of `from` was written; else why nothing was */
  writeDpa(address: Dpa, from: Uint8Array): MemoryFault | undefined;
}

/** Under this a memory device's function offers itself to the data path. */
export const CXL_MEMORY_TARGET = new Offer<CxlMemoryTarget>('CXL memory target');

/** The device as a CXL memory device, when it is one. */
export const asCxlMemoryTarget = (device: Device): CxlMemoryTarget | undefined => {
  const { pci } = device as { pci?: PciFunction };
  return pci?.offers.get(CXL_MEMORY_TARGET);
};
