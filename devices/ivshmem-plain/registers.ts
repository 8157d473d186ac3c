/** What every inter-VM shared memory device says it is. reference/pci-and-memory-devices.md §9.1 */
export const IVSHMEM_IDENTITY = {
  vendorId: 0x1af4,
  deviceId: 0x1110,
  revision: 1,
  classCode: 0x0500,
  express: false,
} as const;

export const REGISTERS_BAR = 0;
export const MEMORY_BAR = 2;
export const REGISTERS_SIZE = 256n;

/** BAR0; offsets in bytes. reference/pci-and-memory-devices.md §9.2 */
export const REGISTER = {
  /** RW; stored only. */
  INTERRUPT_MASK: 0x00,
  /** RW; reading clears. */
  INTERRUPT_STATUS: 0x04,
  /** RO; 0 without a server. */
  IV_POSITION: 0x08,
  /** WO; rings nobody without a server. */
  DOORBELL: 0x0c,
} as const;
