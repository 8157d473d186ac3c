import {
  addPcieCapability,
  addPowerManagement,
  addVendorCapability,
  endpointType,
} from '../pci/capabilities.js';
import type { PciFunction } from '../pci/function.js';
import { CONFIG_ACCESS_TYPE, NOTIFY_MULTIPLIER, STRUCTURES, STRUCTURES_BAR } from './registers.js';

interface Structure {
  readonly type: number;
  readonly offset: number;
  readonly length: number;
}

/** What follows the length byte of a capability that tells where a structure is. */
const structureBody = (structure: Structure, bar: number, ...more: number[]): Uint8Array => {
  const body = Buffer.alloc(13 + 4 * more.length);
  body[0] = structure.type;
  body[1] = bar;
  body.writeUInt32LE(structure.offset, 5);
  body.writeUInt32LE(structure.length, 9);
  more.forEach((word, index) => body.writeUInt32LE(word, 13 + 4 * index));
  return body;
};

/**
 * Adds the capabilities of a modern virtio function, in the order and at the places that QEMU has
 * them.
 *
 * @see Virtio 1.2 §4.1.4
 */
export const addVirtioCapabilities = (fn: PciFunction): void => {
  if (fn.bus?.express === true && !fn.bus.isRoot) {
    addPcieCapability(fn, { type: endpointType(fn), functionReset: true });
    addPowerManagement(fn);
  }
  for (const name of ['COMMON', 'ISR', 'DEVICE'] as const)
    addVendorCapability(fn, structureBody(STRUCTURES[name], STRUCTURES_BAR));
  addVendorCapability(fn, structureBody(STRUCTURES.NOTIFY, STRUCTURES_BAR, NOTIFY_MULTIPLIER));
  const nothing = { type: CONFIG_ACCESS_TYPE, offset: 0, length: 0 };
  addVendorCapability(fn, structureBody(nothing, 0, 0));
};
