/** The last device type that fits the device ids of PCI. Virtio 1.2 §4.1.2.1 */
export const LAST_VIRTIO_ID = 63;

/** As QEMU places them when a device has shared memory. reference/pci-and-memory-devices.md §9.8 */
export const BAR = { LEGACY: 0, MSIX: 1, REGISTERS: 2, MEMORY: 4 } as const;

/** A feature bit of our own, of those that belong to device types. */
export const LEGACY_REGIONS = 1n << 23n;

/** Device configuration: how many regions there are, then an entry for each number. */
export const DEVICE_CONFIG = { COUNT: 0, ENTRIES: 8, ENTRY_SIZE: 24 } as const;
/** An entry; a length of 0: there is no such region. */
export const ENTRY = { SHMID: 0, OFFSET: 8, LENGTH: 16 } as const;

/** The 2010 layout, in I/O ports. reference/pci-and-memory-devices.md §9.6 */
export const LEGACY = {
  DEVICE_FEATURES: 0,
  DRIVER_FEATURES: 4,
  STATUS: 18,
  ISR: 19,
  MEM_SEL: 20,
  MEM_SIZE: 24,
  MEM_PFN: 28,
  CONFIG_VECTOR: 32,
  QUEUE_VECTOR: 34,
  SIZE: 64n,
} as const;
/** Device configuration of that layout: the selected region in 64 bits. */
export const LEGACY_CONFIG = { SIZE: 0, ADDRESS: 8 } as const;
