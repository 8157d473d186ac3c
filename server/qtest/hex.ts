/** Value of a hexadecimal digit; as QEMU, anything else counts as -1 and is not refused. */
const nibble = (byte: number): number => {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = (byte | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
};

/**
 * The bytes that a word of hexadecimal digits spells, behind its two characters of prefix: exactly
 * `length`, missing ones are 0, and a digit without a second one does not count.
 */
export const bytesFromHex = (word: Buffer, length: number): Buffer => {
  const bytes = Buffer.alloc(length);
  const count = Math.min(length, (word.length - 2) >> 1);
  const done = bytes.write(word.toString('latin1', 2, 2 + 2 * count), 'hex');
  for (let i = done; i < count; i++)
    bytes[i] = (nibble(word[2 + 2 * i] ?? 0) << 4) | nibble(word[3 + 2 * i] ?? 0);
  return bytes;
};

/** What stands before the digits of a value, by how many digits are missing. */
const PREFIXES = Array.from({ length: 17 }, (_, count) => `OK 0x${'0'.repeat(count)}`);

/** The reply that tells `value` in at least `digits` hexadecimal digits. */
export const valueReply = (value: bigint, digits: number): string => {
  const text = value <= 0xffff_ffffn ? Number(value).toString(16) : value.toString(16);
  return (PREFIXES[digits - text.length] ?? 'OK 0x') + text;
};
