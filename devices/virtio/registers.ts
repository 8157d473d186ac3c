/** What every modern-only virtio function says it is, besides its device id. Virtio 1.2 §4.1.2 */
export const VIRTIO_IDENTITY = {
  vendorId: 0x1af4,
  revision: 1,
  classCode: 0x00ff,
  interruptPin: 1,
} as const;
/** The device id is that of the virtio device type, and this more. */
export const MODERN_DEVICE_ID = 0x1040;

/** Types of the vendor capabilities. Virtio 1.2 §4.1.4 */
export const CAPABILITY_TYPE = {
  COMMON: 1,
  NOTIFY: 2,
  ISR: 3,
  DEVICE: 4,
  PCI_ACCESS: 5,
  SHARED_MEMORY: 8,
} as const;

/** Parts of the register BAR, as QEMU places them; each takes 4 KiB. */
export const PART = { COMMON: 0x0000, ISR: 0x1000, DEVICE: 0x2000, NOTIFY: 0x3000 } as const;
export const PART_SIZE = 0x1000;
export const REGISTERS_SIZE = 0x4000n;
/** Bytes from one queue's notification to the next one's. Virtio 1.2 §4.1.4.4 */
export const NOTIFY_MULTIPLIER = 4;

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

/** Feature bits of every device. Virtio 1.2 §6 */
export const FEATURE = { VERSION_1: 1n << 32n } as const;
export const NO_VECTOR = 0xffff;
