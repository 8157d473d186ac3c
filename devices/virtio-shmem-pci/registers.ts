import type { PciIdentity } from '../pci/function.js';

/** What every device of this type says it is, besides its device id. Virtio 1.2 §4.1.2 */
export const IDENTITY = {
  vendorId: 0x1af4,
  revision: 1,
  classCode: 0x00ff,
  interruptPin: 1,
  express: false,
} as const satisfies Omit<PciIdentity, 'deviceId'>;
export const MODERN_DEVICE_ID = 0x1040;
export const LAST_VIRTIO_ID = 63;

/** As QEMU places them when a device has shared memory. reference/pci-and-memory-devices.md §9.8 */
export const BAR = { LEGACY: 0, MSIX: 1, REGISTERS: 2, MEMORY: 4 } as const;

/** Types of the vendor capabilities. Virtio 1.2 §4.1.4 */
export const CAPABILITY_TYPE = {
  COMMON: 1,
  NOTIFY: 2,
  ISR: 3,
  DEVICE: 4,
  PCI_ACCESS: 5,
  SHARED_MEMORY: 8,
} as const;

/** Parts of the register BAR; each takes 4 KiB. */
export const PART = { COMMON: 0x0000, ISR: 0x1000, DEVICE: 0x2000, NOTIFY: 0x3000 } as const;
export const PART_SIZE = 0x1000;
export const REGISTERS_SIZE = 0x4000n;

/** Common configuration; offsets in bytes. Virtio 1.2 §4.1.4.3 */
export const COMMON = {
  DEVICE_FEATURE_SELECT: 0x00,
  DEVICE_FEATURE: 0x04,
  DRIVER_FEATURE_SELECT: 0x08,
  DRIVER_FEATURE: 0x0c,
  CONFIG_MSIX_VECTOR: 0x10,
  NUM_QUEUES: 0x12,
  DEVICE_STATUS: 0x14,
  CONFIG_GENERATION: 0x15,
  QUEUE_SELECT: 0x16,
  QUEUE_SIZE: 0x18,
  QUEUE_MSIX_VECTOR: 0x1a,
} as const;

/** Bits of the device status. Virtio 1.2 §2.1 */
export const STATUS = { FEATURES_OK: 8 } as const;

/** Feature bits. Virtio 1.2 §6; the last is our own, of the bits that belong to device types. */
export const FEATURE = { VERSION_1: 1n << 32n, LEGACY_REGIONS: 1n << 23n } as const;
export const NO_VECTOR = 0xffff;

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
