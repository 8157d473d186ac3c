/** A device of its own: base class "unassigned". */
export const VFIO_STATE_IDENTITY = {
  vendorId: 0x1234,
  deviceId: 0x11f1,
  revision: 1,
  classCode: 0xff00,
  express: false,
} as const;

export const CONTROL_BAR = 0;
export const CONFIG_BAR = 2;
/** DEVICE_MEMORY from 0 on, DIRTY_BITMAP behind it. */
export const DATA_BAR = 4;
export const CONTROL_BAR_SIZE = 4096n;

/** In the control BAR, behind the control structure; 32 bits each, read-only. */
export const REGISTER = {
  /** errno of the last access of the control structure, 0 when it succeeded. */
  RESULT: 0x80,
  /** Bytes of the control structure. */
  CTL_SIZE: 0x84,
  CONFIG_LENGTH: 0x88,
  MEMORY_LENGTH: 0x8c,
  BITMAP_LENGTH: 0x90,
  /** Offset of DIRTY_BITMAP in the data BAR. */
  BITMAP_OFFSET: 0x94,
} as const;
