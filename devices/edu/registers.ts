/** What the device says it is. QEMU docs/specs/edu.rst */
export const EDU_IDENTITY = {
  vendorId: 0x1234,
  deviceId: 0x11e8,
  revision: 0x10,
  classCode: 0x00ff,
  interruptPin: 1,
  express: false,
} as const;

export const REGISTERS_BAR = 0;
export const REGISTERS_SIZE = 1n << 20n;

/** BAR0; offsets in bytes. Those below DMA_SOURCE take 4 bytes, the others 4 or 8. */
export const REGISTER = {
  /** RO. */
  IDENTIFICATION: 0x00,
  /** RW; reads the complement of what was written. */
  LIVENESS: 0x04,
  /** RW; a write computes. */
  FACTORIAL: 0x08,
  STATUS: 0x20,
  /** RO; the reasons of the interrupt. */
  INTERRUPT_STATUS: 0x24,
  /** WO; adds reasons. */
  INTERRUPT_RAISE: 0x60,
  /** WO; takes reasons away. */
  INTERRUPT_ACKNOWLEDGE: 0x64,
  DMA_SOURCE: 0x80,
  DMA_DESTINATION: 0x88,
  DMA_COUNT: 0x90,
  DMA_COMMAND: 0x98,
} as const;

/** Major version 1, minor version 0. */
export const IDENTIFICATION = 0x010000edn;

/** Bits of STATUS. */
export const STATUS = {
  /** Raise FACTORIAL when the computation is done. */
  INTERRUPT: 0x80n,
} as const;

/** Reasons in INTERRUPT_STATUS that the device itself gives. */
export const REASON = { FACTORIAL: 0x1n, DMA: 0x100n } as const;

/** Bits of DMA_COMMAND. */
export const DMA = {
  RUN: 0x1n,
  /** From the device to memory, not the other way. */
  TO_MEMORY: 0x2n,
  INTERRUPT: 0x4n,
} as const;

/** Where the device's own buffer lies in the addresses of DMA. */
export const BUFFER = { base: 0x40000n, size: 0x1000n } as const;
/** A transfer takes this long on the machine's clock. */
export const DMA_MS = 100n;
