import { QmpError, refused } from '../../schema/error.js';
import { crc32 } from '../core/crc32.js';
import type { DeviceState } from '../core/device.js';
import { decodeValue, encodeValue } from './value-codec.js';

/*
 * Saved configuration of one device; numbers little-endian.
 *
 *    0  magic 51 4d 43 46 ("QMCF")
 *    4  u16 format version
 *    6  u16 state version of the device type
 *    8  u32 length of the payload
 *   12  u32 CRC-32 of everything but this field
 *   16  u8  length of the name of the device type
 *   17  the name, ASCII
 *    -  the payload, see value-codec.ts
 */
const MAGIC = 0x46434d51;
const FORMAT_VERSION = 1;
const CRC_OFFSET = 12;
const NAME_OFFSET = 17;

/** Whose configuration it is. */
export interface ConfigIdentity {
  /** Name of the device type, at most 255 ASCII characters. */
  readonly typeName: string;
  /** Version of that type's state; see DeviceType.stateVersion. */
  readonly version: number;
}

/** Largest payload in bytes. */
export const LARGEST_CONFIG = 64 * 1024 * 1024;

/**
 * The bytes of a device's configuration. The same state has the same bytes.
 *
 * @throws QmpError when the state is larger than the format allows
 */
export const encodeConfig = (identity: ConfigIdentity, state: DeviceState): Uint8Array => {
  const payload = encodeValue(state);
  if (payload.length > LARGEST_CONFIG)
    throw refused(
      `state of device type '${identity.typeName}' has ${String(payload.length)} bytes; ` +
        `at most ${String(LARGEST_CONFIG)} are allowed`,
    );
  const name = new TextEncoder().encode(identity.typeName);
  const bytes = new Uint8Array(NAME_OFFSET + name.length + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, FORMAT_VERSION, true);
  view.setUint16(6, identity.version, true);
  view.setUint32(8, payload.length, true);
  view.setUint8(16, name.length);
  bytes.set(name, NAME_OFFSET);
  bytes.set(payload, NAME_OFFSET + name.length);
  view.setUint32(CRC_OFFSET, checksum(bytes), true);
  return bytes;
};

const checksum = (bytes: Uint8Array): number =>
  crc32(bytes.subarray(CRC_OFFSET + 4), crc32(bytes.subarray(0, CRC_OFFSET)));

/**
 * The state in `bytes`, which must be of the same device type and version.
 *
 * @throws QmpError naming the device type, the place and the rule
 */
export const decodeConfig = (identity: ConfigIdentity, bytes: Uint8Array): DeviceState => {
  try {
    return decodeState(checkHeader(identity, bytes), bytes);
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw refused(`state of device type '${identity.typeName}' ${error.message}`, error);
  }
};

const decodeState = (start: number, bytes: Uint8Array): DeviceState => {
  const state = decodeValue(bytes, start);
  if (typeof state !== 'object' || Array.isArray(state) || state instanceof Uint8Array)
    throw refused(`at byte ${String(start)}: is no map`);
  return state;
};

/** @returns where the payload begins */
const checkHeader = (identity: ConfigIdentity, bytes: Uint8Array): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length;
  if (length < 4 || view.getUint32(0, true) !== MAGIC)
    throw refused(`at byte 0: is no saved configuration of a device`);
  if (length < NAME_OFFSET) throw refused(`at byte ${String(length)}: ends inside the header`);
  const format = view.getUint16(4, true);
  if (format !== FORMAT_VERSION)
    throw refused(`at byte 4: format version ${String(format)} is unknown, known is 1`);
  const payload = view.getUint32(8, true);
  const start = NAME_OFFSET + view.getUint8(16);
  if (payload > LARGEST_CONFIG)
    throw refused(
      `at byte 8: payload of ${String(payload)} bytes; at most ${String(LARGEST_CONFIG)} are allowed`,
    );
  if (start + payload !== length)
    throw refused(
      `at byte 8: header and payload are ${String(start + payload)} bytes, but ${String(length)} are there`,
    );
  const crc = view.getUint32(CRC_OFFSET, true);
  if (crc !== checksum(bytes)) throw refused(`at byte ${String(CRC_OFFSET)}: wrong CRC-32`);
  checkIdentity(identity, bytes.subarray(NAME_OFFSET, start), view.getUint16(6, true));
  return start;
};

const checkIdentity = (identity: ConfigIdentity, name: Uint8Array, version: number): void => {
  const typeName = String.fromCharCode(...name);
  if (typeName !== identity.typeName)
    throw refused(
      `at byte ${String(NAME_OFFSET)}: is of device type '${JSON.stringify(typeName).slice(1, -1)}'`,
    );
  if (version !== identity.version)
    throw refused(
      `at byte 6: state version ${String(version)} is unknown, known is ${String(identity.version)}`,
    );
};
