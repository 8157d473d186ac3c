import { field, whole } from '../core/register-file.js';
import type { RegisterMap } from '../core/register-file.js';

/** reference/pci-and-memory-devices.md §9.7; vendor and device id are properties. */
export const IDENTITY = { revision: 1, classCode: 0x0500, express: false } as const;

export const REGISTERS_SIZE = 4096n;

/** BAR0. reference/pci-and-memory-devices.md §9.7 */
export const REGISTERS = {
  /** `PSHM` in memory order. */
  MAGIC: whole(0x00, 4, 'RO', 0x4d485350n),
  VERSION: whole(0x04, 4, 'RO', 1n),
  /** Chosen by the user: what the memory is used for. */
  TAG: whole(0x08, 4, 'RO'),
  FEATURES: { offset: 0x0c, size: 4, fields: { DOORBELL: field([0, 0], 'RO') } },
  /** Bytes behind BAR2. */
  MEMORY_SIZE: whole(0x10, 8, 'RO'),
  /** Own id among the peers; 0 without a server. */
  OWN_ID: whole(0x18, 4, 'RO'),
  /** Reads 0: a ring is done at once. */
  DOORBELL: {
    offset: 0x1c,
    size: 4,
    fields: { VECTOR: field([15, 0], 'RW'), PEER: field([31, 16], 'RW') },
  },
  /** Bit k: somebody rang vector k. */
  STATUS: whole(0x20, 4, 'RW1C'),
  /** Bit k: vector k sends no message; it is sent on unmasking while the status bit stands. */
  MASK: whole(0x24, 4, 'RW'),
} as const satisfies RegisterMap;

/** Vectors that have a bit in STATUS and MASK. */
export const STATUS_VECTORS = 32;
