/** The bytes as little-endian numbers. */
export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const HEX = /^[0-9a-f]{32}$/;
const UUID = /^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$/;

/** Sixteen bytes of a UUID or a tag, in printed order, as 32 hexadecimal digits. */
export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** The reverse of hexOf. */
export const bytesOfHex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

/** Digits of a printed UUID of 36 characters; undefined when the text is none. */
export const parseUuid = (text: string): string | undefined =>
  UUID.test(text) ? text.replaceAll('-', '').toLowerCase() : undefined;
/** 32 digits as a printed UUID. */
export const printUuid = (hex: string): string => {
  if (!HEX.test(hex)) throw new RangeError(`'${hex}' is not 32 hexadecimal digits`);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
};
