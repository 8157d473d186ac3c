/** How a mailbox command ends. CXL 3.1 §8.2.9.1 table 8-37 */
export const RETURN_CODE = {
  SUCCESS: 0x00,
  BACKGROUND_STARTED: 0x01,
  INVALID_INPUT: 0x02,
  UNSUPPORTED: 0x03,
  INTERNAL_ERROR: 0x04,
  RETRY_REQUIRED: 0x05,
  BUSY: 0x06,
  MEDIA_DISABLED: 0x07,
  FW_TRANSFER_IN_PROGRESS: 0x08,
  FW_TRANSFER_OUT_OF_ORDER: 0x09,
  FW_AUTHENTICATION_FAILED: 0x0a,
  FW_INVALID_SLOT: 0x0b,
  FW_ROLLED_BACK: 0x0c,
  FW_COLD_RESET_REQUIRED: 0x0d,
  INVALID_HANDLE: 0x0e,
  INVALID_PHYSICAL_ADDRESS: 0x0f,
  INJECT_POISON_LIMIT: 0x10,
  PERMANENT_MEDIA_FAILURE: 0x11,
  ABORTED: 0x12,
  INVALID_SECURITY_STATE: 0x13,
  INCORRECT_PASSPHRASE: 0x14,
  UNSUPPORTED_MAILBOX: 0x15,
  INVALID_PAYLOAD_LENGTH: 0x16,
  INVALID_LOG: 0x17,
  INTERRUPTED: 0x18,
  UNSUPPORTED_FEATURE_VERSION: 0x19,
  UNSUPPORTED_FEATURE_SELECTION: 0x1a,
  FEATURE_TRANSFER_IN_PROGRESS: 0x1b,
  FEATURE_TRANSFER_OUT_OF_ORDER: 0x1c,
  RESOURCES_EXHAUSTED: 0x1d,
  INVALID_EXTENT_LIST: 0x1e,
  TRANSFER_OUT_OF_ORDER: 0x1f,
  ABORT_NOT_SUPPORTED: 0x20,
} as const;
export type ReturnCode = (typeof RETURN_CODE)[keyof typeof RETURN_CODE];

/** A return code as error texts name it, such as `Invalid Input (2h)`. */
export const describeReturnCode = (code: number): string => {
  const found = Object.entries(RETURN_CODE).find(([, value]) => value === code);
  const words = (found?.[0] ?? 'UNKNOWN').toLowerCase().split('_');
  const name = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(' ');
  return `${name.replace(/^Fw/, 'FW')} (${code.toString(16)}h)`;
};
