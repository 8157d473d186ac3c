/** A memory controller of nobody's; revision 1. */
export const SAMPLE_IDENTITY = {
  vendorId: 0x1234,
  deviceId: 0x11f0,
  revision: 1,
  classCode: 0x0580,
  express: false,
} as const;

export const CONFIG_BAR = 0;
export const MEMORY_BAR = 2;
/** Bytes of BAR0. */
export const CONFIG_BAR_SIZE = 0x2_0000n;

/** Where in the configuration, at the beginning of BAR0, the DMA engine finds what it is to do. */
export const DMA = {
  /** 64 bits: where in system memory. */
  ADDRESS: 0x10,
  /** 32 bits: how many bytes, at most `DMA_MOST`. */
  LENGTH: 0x18,
  /** The byte that it writes. */
  FILL: 0x1c,
} as const;
/** In BAR0: any write starts the DMA, which is done when the write is. */
export const DOORBELL = 0x1_0000;
export const DMA_MOST = 2 ** 20;

export const LEAST_CONFIG = 64;
export const MOST_CONFIG = 0x1_0000;
export const MOST_MEMORY = 2n ** 28n;

/** What the memory holds at power-on. */
export const memoryByte = (offset: number): number => (7 * offset + 3) & 0xff;
/** After as many bytes the memory repeats itself. */
export const MEMORY_PERIOD = 256;
