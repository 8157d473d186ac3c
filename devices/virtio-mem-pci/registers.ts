/** What the function says it is: a modern-only virtio device of type 24. Virtio 1.2 §4.1.2, §5.15. */
export const VIRTIO_MEM_IDENTITY = {
  vendorId: 0x1af4,
  deviceId: 0x1058,
  revision: 1,
  classCode: 0x00ff,
  interruptPin: 1,
  express: true,
} as const;

/** The BAR that holds all structures. */
export const STRUCTURES_BAR = 4;
export const STRUCTURES_SIZE = 0x4000n;

/** Structures in the BAR: type, place and length. Virtio 1.2 §4.1.4. */
export const STRUCTURES = {
  COMMON: { type: 1, offset: 0x0000, length: 0x1000 },
  ISR: { type: 3, offset: 0x1000, length: 0x1000 },
  DEVICE: { type: 4, offset: 0x2000, length: 0x1000 },
  NOTIFY: { type: 2, offset: 0x3000, length: 0x1000 },
} as const;
/** The window onto the BAR in configuration space; no structure of its own. */
export const CONFIG_ACCESS_TYPE = 5;
export const NOTIFY_MULTIPLIER = 4;

/** Fields of the device configuration, all 64-bit but NODE_ID. Virtio 1.2 §5.15.4. */
export const CONFIG_FIELDS = {
  BLOCK_SIZE: 0x00,
  NODE_ID: 0x08,
  ADDR: 0x10,
  REGION_SIZE: 0x18,
  USABLE_REGION_SIZE: 0x20,
  PLUGGED_SIZE: 0x28,
  REQUESTED_SIZE: 0x30,
} as const;
export const CONFIG_LENGTH = 0x38;
/** What the guest may use beyond what it was asked to have, so that it finds free blocks. */
export const USABLE_EXTENT = 256n << 20n;
