/** Device type of virtio. Virtio 1.2 §5.15 */
export const VIRTIO_MEM_ID = 24;

/** The BAR that holds all structures. */
export const STRUCTURES_BAR = 4;

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
