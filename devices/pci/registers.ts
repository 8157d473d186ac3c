/** Configuration space of every PCI function. PCI Local Bus 3.0 §6.1, §6.2. */
export const CONFIG = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION: 0x08,
  PROG_IF: 0x09,
  CLASS: 0x0a,
  CACHE_LINE_SIZE: 0x0c,
  LATENCY_TIMER: 0x0d,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  ROM: 0x30,
  CAPABILITIES: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
  /** First byte behind the header. */
  HEADER_END: 0x40,
} as const;

/** Type 1 header. PCI-to-PCI Bridge 1.2 §3.2. */
export const BRIDGE = {
  PRIMARY_BUS: 0x18,
  SECONDARY_BUS: 0x19,
  SUBORDINATE_BUS: 0x1a,
  SECONDARY_LATENCY: 0x1b,
  IO_BASE: 0x1c,
  IO_LIMIT: 0x1d,
  SECONDARY_STATUS: 0x1e,
  MEMORY_BASE: 0x20,
  MEMORY_LIMIT: 0x22,
  PREFETCH_BASE: 0x24,
  PREFETCH_LIMIT: 0x26,
  PREFETCH_BASE_UPPER: 0x28,
  PREFETCH_LIMIT_UPPER: 0x2c,
  IO_BASE_UPPER: 0x30,
  IO_LIMIT_UPPER: 0x32,
  ROM: 0x38,
  CONTROL: 0x3e,
} as const;

/** Bits of COMMAND. */
export const COMMAND = {
  IO: 0x1,
  MEMORY: 0x2,
  MASTER: 0x4,
  SERR: 0x100,
  INTX_DISABLE: 0x400,
} as const;

/** Bits of STATUS. */
export const STATUS = { INTERRUPT: 0x08, CAPABILITY_LIST: 0x10, WRITE_1_CLEAR: 0xf900 } as const;

/** Bits of the bridge control register. */
export const BRIDGE_CONTROL = {
  BUS_RESET: 0x40,
  /** Writable on an express port. */
  EXPRESS: 0x5f,
  /** Writable on a conventional bridge, besides the discard status. */
  CONVENTIONAL: 0x0bff,
  DISCARD_STATUS: 0x400,
} as const;

/** Bits of the header type. */
export const HEADER_TYPE = { BRIDGE: 0x01, MULTIFUNCTION: 0x80 } as const;

/** Ids of standard capabilities. */
export const CAPABILITY = {
  POWER_MANAGEMENT: 0x01,
  MSI: 0x05,
  VENDOR: 0x09,
  SUBSYSTEM_IDS: 0x0d,
  EXPRESS: 0x10,
  MSIX: 0x11,
} as const;

/** Ids of extended capabilities. */
export const EXTENDED_CAPABILITY = {
  AER: 0x0001,
  SERIAL_NUMBER: 0x0003,
  VENDOR: 0x000b,
  ACS: 0x000d,
  DVSEC: 0x0023,
  DOE: 0x002e,
} as const;

/** Device/port types of the PCI Express capability. PCIe 5.0 §7.5.3.2. */
export const PORT_TYPE = {
  ENDPOINT: 0,
  LEGACY_ENDPOINT: 1,
  ROOT_PORT: 4,
  UPSTREAM: 5,
  DOWNSTREAM: 6,
  PCI_BRIDGE: 7,
  ROOT_COMPLEX_ENDPOINT: 9,
} as const;
export type PortType = (typeof PORT_TYPE)[keyof typeof PORT_TYPE];
