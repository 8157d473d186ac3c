import type { HostMemory } from '../core/host-memory.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PciFunction } from '../pci/function.js';

/** What every inter-VM shared memory device says it is. reference/pci-and-memory-devices.md §9.1 */
export const IVSHMEM_IDENTITY = {
  vendorId: 0x1af4,
  deviceId: 0x1110,
  revision: 1,
  classCode: 0x0500,
  express: false,
} as const;

export const IVSHMEM_DESCRIPTION = 'Inter-VM shared memory';

/** BARs of the devices on shared memory. §9.1, §9.7 */
export const REGISTERS_BAR = 0;
export const MSIX_BAR = 1;
export const MEMORY_BAR = 2;

/** @throws QmpError when the memory has a size that no BAR has */
export const registerMemoryBar = (fn: PciFunction, name: string, memory: HostMemory): void => {
  const region = MemoryRegion.ram(name, { memory });
  fn.registerBar(MEMORY_BAR, region, { type: 'memory', bits64: true, prefetch: true });
};
