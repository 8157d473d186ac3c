import { refused } from '../../schema/error.js';
import { size, uint32 } from '../core/property.js';
import type { PropertyValues } from '../core/property.js';
import { addVendorCapability } from './capabilities.js';
import type { PciFunction } from './function.js';

const ANY_32 = 0xffff_ffff;
const ANY_64 = (1n << 64n) - 1n;
/** Type of the vendor capability that asks firmware for room behind a bridge. */
const RESERVE_TYPE = 1;
const BODY_SIZE = 0x20 - 3;

/** Room that firmware should keep behind a bridge; all ones: no wish. */
export const reserveProperties = {
  'bus-reserve': uint32(ANY_32, 'bus numbers to reserve behind the bridge'),
  'io-reserve': size(ANY_64, 'I/O space to reserve'),
  'mem-reserve': size(ANY_64, 'non-prefetchable memory to reserve'),
  'pref32-reserve': size(ANY_64, '32-bit prefetchable memory to reserve'),
  'pref64-reserve': size(ANY_64, '64-bit prefetchable memory to reserve'),
} as const;

/**
 * Adds the capability that carries the wishes, when there are any. Offsets and texts as QEMU.
 *
 * @throws QmpError when the wishes contradict each other or do not fit
 */
export const addReserve = (
  fn: PciFunction,
  wishes: PropertyValues<typeof reserveProperties>,
): void => {
  const io = wishes['io-reserve'];
  const memory = wishes['mem-reserve'];
  const pref32 = wishes['pref32-reserve'];
  const pref64 = wishes['pref64-reserve'];
  const buses = wishes['bus-reserve'];
  if (buses === ANY_32 && [io, memory, pref32, pref64].every((wish) => wish === ANY_64)) return;
  if (pref32 !== ANY_64 && pref64 !== ANY_64)
    throw refused('PCI resource reserve cap: PREF32 and PREF64 conflict');
  for (const wish of [memory, pref32])
    if (wish !== ANY_64 && wish >= 1n << 32n)
      throw refused('PCI resource reserve cap: must be less than 4G');
  const body = new Uint8Array(BODY_SIZE);
  const view = new DataView(body.buffer);
  view.setUint8(0, RESERVE_TYPE);
  view.setUint32(1, buses, true);
  view.setBigUint64(5, io, true);
  view.setUint32(13, Number(memory & 0xffff_ffffn), true);
  view.setUint32(17, Number(pref32 & 0xffff_ffffn), true);
  view.setBigUint64(21, pref64, true);
  addVendorCapability(fn, body);
};
