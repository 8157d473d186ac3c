import { deviceType } from '../core/device.js';
import { PcDimm } from './device.js';
import { NvdimmProperties, PcDimmProperties } from './properties.js';

export const pcDimm = deviceType({
  name: 'pc-dimm',
  parent: 'device',
  category: 'uncategorized',
  description: 'DIMM memory module',
  interfaces: [],
  place: 'memory-slot',
  properties: PcDimmProperties,
  create: (context, properties) => new PcDimm(context, 'dimm', properties),
});

export const nvdimm = deviceType({
  name: 'nvdimm',
  parent: 'pc-dimm',
  category: 'storage',
  description: 'Persistent memory module',
  interfaces: [],
  place: 'memory-slot',
  properties: NvdimmProperties,
  create: (context, properties) => new PcDimm(context, 'nvdimm', properties),
});
