/** What the device says it is. reference/pci-and-memory-devices.md §8.1 */
export const IOPMEM_IDENTITY = {
  vendorId: 0x11f8,
  deviceId: 0xf115,
  revision: 2,
  classCode: 0x0180,
  progIf: 0x02,
  express: true,
} as const;

export const MEMORY_BAR = 4;
/** Offset of the PCI Express capability. */
export const EXPRESS_AT = 0x80;
