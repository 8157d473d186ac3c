import { field, whole } from '../core/register-file.js';
import type { RegisterMap } from '../core/register-file.js';

/** reference/pci-and-memory-devices.md §7.1; vendor and device id are properties. */
export const IDENTITY = {
  revision: 1,
  classCode: 0x0500,
  express: true,
} as const;

export const REGISTERS_BAR = 0;
export const MEMORY_BAR = 2;
export const REGISTERS_SIZE = 4096n;
export const MSI_AT = 0x40;
export const EXPRESS_AT = 0x50;

/** BAR0. reference/pci-and-memory-devices.md §7.2 */
export const REGISTERS = {
  /** 1 suppresses the event's message. */
  INT_MASK: whole(0x00, 4, 'RW'),
  INT_STATUS: { offset: 0x04, size: 4, fields: { EVENTS: field([5, 0], 'RW1C') } },
  /** Reads 0: the device takes the command out at once. */
  DOOR_BELL: {
    offset: 0x08,
    size: 4,
    fields: { COMMAND: field([15, 0], 'RW'), ENABLE: field([31, 31], 'RW') },
  },
  MEM_ALIGN: whole(0x0c, 4, 'RO'),
  /** Offset in BAR2 behind the attachment made last. */
  HW_OFFSET: whole(0x10, 8, 'RO'),
  MEM_SIZE: whole(0x18, 8, 'RW'),
  MEM_OFFSET: whole(0x20, 8, 'RW'),
} as const satisfies RegisterMap;

/** Bits of INT_STATUS and INT_MASK. §7.2; BAD_COMMAND is ours (§7.4) */
export const EVENT = {
  ATTACHED: 0x01n,
  DETACHED: 0x02n,
  NO_MEMORY: 0x04n,
  BAD_ALIGNMENT: 0x08n,
  UNMAPPED_ACCESS: 0x10n,
  BAD_COMMAND: 0x20n,
} as const;

export const COMMAND = { ATTACH: 1n, DETACH: 2n } as const;
/** DOOR_BELL with a command that is carried out. */
export const ring = (command: bigint): bigint => 0x8000_0000n | command;

/** Attachments at one time; each takes a mapping of the host. Defect 15 */
export const MAX_ATTACHMENTS = 64;
