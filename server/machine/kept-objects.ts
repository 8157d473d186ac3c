import { accessSync, constants } from 'node:fs';
import { refused } from '../../schema/error.js';
import type { Infer } from '../../schema/lang.js';
import type { ObjectOptions, SecretProperties } from '../../schema/memory.js';
import { reasonOf } from '../transport/reason.js';

/** Objects that are kept without effect are checked all the same, in QEMU's words. */

type Arguments = Infer<typeof ObjectOptions>;

const MOST = (1n << 63n) - 1n;

type Secret = Infer<typeof SecretProperties>;
const isSecret = (args: Arguments): args is Arguments & Secret => args['qom-type'] === 'secret';

/** What is wrong with a property as such. @throws QmpError */
export const checkProperties = (args: Arguments): void => {
  if (args['qom-type'] !== 'iothread') return;
  for (const [name, value] of Object.entries(args))
    if (typeof value === 'bigint' && value < 0n)
      throw refused(`${name} value must be in range [0, ${String(MOST)}]`);
};

/** What properties are together. @throws QmpError */
export const checkWhole = (args: Arguments): void => {
  if (!isSecret(args)) return;
  const { data, file, format } = args;
  if (data !== undefined && file !== undefined)
    throw refused("'file' and 'data' are mutually exclusive");
  if (file !== undefined) checkReadable(file);
  else if (data === undefined) throw refused("Either 'file' or 'data' must be provided");
  else if (format === 'base64' && /[^A-Za-z0-9+/=\r\n]/.test(data))
    throw refused('Base64 data contains invalid characters');
};

const checkReadable = (file: string): void => {
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    throw refused(`Unable to read ${file}: Failed to open file “${file}”: ${reasonOf(error)}`);
  }
};
