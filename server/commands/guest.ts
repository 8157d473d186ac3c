import type { AccessSize } from '../../devices/core/host-memory.js';
import type { PciFunction } from '../../devices/pci/function.js';
import { refused } from '../../schema/error.js';
import type * as guest from '../../schema/guest.js';
import type { Handlers } from '../../schema/lang.js';
import { checkActive } from '../machine/device-entry.js';
import { runFirmware } from '../machine/firmware.js';
import type { Machine } from '../machine/machine.js';
import { withMemDriver } from '../machine/guest-drivers.js';
import { decodeBase64 } from './base64.js';
import type { CommandContext } from './context.js';

const functionOf = (machine: Machine, id: string): PciFunction => {
  const { pci } = machine.devices.find(id);
  if (pci === undefined) throw refused(`device '${id}' is no PCI device`);
  return pci.pci;
};

const oneOf = <const S extends readonly number[]>(size: number, sizes: S): S[number] => {
  const found = sizes.find((candidate) => candidate === size);
  if (found === undefined)
    throw refused(`Parameter 'size' expects one of ${sizes.join(', ')}, not ${String(size)}`);
  return found;
};

/** @throws QmpError when the access leaves the configuration space */
const checkConfig = (fn: PciFunction, offset: number, size: number): 1 | 2 | 4 => {
  const width = oneOf(size, [1, 2, 4] as const);
  const length = fn.config.bytes.length;
  if (offset + width > length)
    throw refused(
      `configuration access at ${String(offset)} of ${String(size)} bytes is beyond the end at ${String(length)}`,
    );
  return width;
};

interface MmioRange {
  readonly bar: number;
  readonly offset: number;
  readonly length: number;
}
/** @throws QmpError when there is no such BAR or the range leaves it */
const checkRange = (
  fn: PciFunction,
  id: string,
  bar: number,
  offset: bigint,
  length: number,
): MmioRange => {
  const found = fn.bars.find(({ index }) => index === bar);
  if (found === undefined) throw refused(`device '${id}' has no BAR ${String(bar)}`);
  if (offset + BigInt(length) > found.size)
    throw refused(
      `access at ${String(offset)} of ${String(length)} bytes is beyond the end of BAR ${String(bar)} at ${String(found.size)}`,
    );
  return { bar, offset: Number(offset), length };
};

const WIDTHS = [1, 2, 4, 8] as const satisfies readonly AccessSize[];
/** The most bytes that one bulk access moves: registers are called four bytes at a time. */
const BULK_LIMIT = 4 * 1024 * 1024;

const bulkLength = (name: 'length' | 'data', length: number): number => {
  if (length > BULK_LIMIT)
    throw refused(`Parameter '${name}' expects at most ${String(BULK_LIMIT)} bytes`);
  return length;
};

export const guestHandlers = {
  'mem-attach': ({ id, size, offset }, { machine, client }) =>
    withMemDriver(machine, id, client.gone, (driver) => driver.attach({ size, offset })),
  'mem-detach': ({ id, offset, size }, { machine, client }) =>
    withMemDriver(machine, id, client.gone, (driver) =>
      driver.detach(offset === undefined && size === undefined ? undefined : { offset, size }),
    ),
  'query-mem-attachments': ({ id }, { machine, client }) =>
    withMemDriver(machine, id, client.gone, (driver) => Promise.resolve(driver.attachments())),
  'guest-eject': ({ id }, { machine }) => machine.eject(machine.devices.find(id)),
  'guest-enumerate': (_, { machine }) => runFirmware(machine),
  'guest-memory-resize': ({ id, size }, { machine }) => {
    const entry = machine.devices.find(id);
    const part = entry.memory?.memoryDevice;
    if (part?.kind !== 'virtio-mem')
      throw refused(`device '${id}' is a ${entry.type.name}: its memory has one size`);
    checkActive(entry);
    part.resize(size);
  },
  'guest-config-read': ({ id, offset, size }, { machine }) => {
    const fn = functionOf(machine, id);
    return { value: fn.readConfig(offset, checkConfig(fn, offset, size)) };
  },
  'guest-config-write': ({ id, offset, size, value }, { machine }) => {
    const fn = functionOf(machine, id);
    const width = checkConfig(fn, offset, size);
    if (BigInt(value) >> BigInt(8 * width) !== 0n)
      throw refused(`value ${String(value)} does not fit ${String(width)} bytes`);
    fn.writeConfig(offset, width, value);
  },
  'guest-mmio-read': ({ id, bar, offset, size, length }, { machine }) => {
    const fn = functionOf(machine, id);
    if ((size === undefined) === (length === undefined))
      throw refused(`exactly one of 'size' and 'length' is needed`);
    if (size !== undefined) {
      const width = oneOf(size, WIDTHS);
      const at = checkRange(fn, id, bar, offset, width);
      return { value: fn.readBar(bar, at.offset, width) };
    }
    const at = checkRange(fn, id, bar, offset, bulkLength('length', length ?? 0));
    const bytes = fn.readBarBytes(bar, at.offset, at.length);
    return { data: Buffer.from(bytes).toString('base64') };
  },
  'guest-mmio-write': ({ id, bar, offset, size, value, data }, { machine }) => {
    const fn = functionOf(machine, id);
    if (data !== undefined) {
      if (size !== undefined || value !== undefined)
        throw refused(`'data' excludes 'size' and 'value'`);
      const bytes = decodeBase64('data', data);
      const at = checkRange(fn, id, bar, offset, bulkLength('data', bytes.length));
      fn.writeBarBytes(bar, at.offset, bytes);
      return;
    }
    if (size === undefined || value === undefined)
      throw refused(`either 'data' or both of 'size' and 'value' are needed`);
    const width = oneOf(size, WIDTHS);
    const at = checkRange(fn, id, bar, offset, width);
    if (value >> BigInt(8 * width) !== 0n)
      throw refused(`value ${String(value)} does not fit ${String(width)} bytes`);
    fn.writeBar(bar, at.offset, width, value);
  },
} satisfies Handlers<typeof guest, CommandContext>;
