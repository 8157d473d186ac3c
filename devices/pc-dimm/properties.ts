import type { MemdevBackend } from '../core/memdev.js';
import {
  bool,
  int32,
  link,
  ofPlace,
  str,
  uint32,
  uint64,
  type Property,
} from '../core/property.js';
import { refused } from '../../schema/error.js';

/** The size of the backend: seen, never set. */
const backendSize: Property<bigint> = {
  qomType: 'uint64',
  doc: 'bytes of the memory backend',
  default: undefined,
  showDefault: false,
  parse: (_value, name, typeName) => {
    throw refused(`Property '${typeName}.${name}' is not writable`);
  },
  parseText: (_text, name, typeName) => {
    throw refused(`Property '${typeName}.${name}' is not writable`);
  },
  show: (value) => value ?? 0n,
};

const common = {
  memdev: link<MemdevBackend>('memory-backend', 'the memory itself'),
  node: ofPlace(uint32(0, 'NUMA node that the memory belongs to')),
  addr: ofPlace(uint64(0n, 'guest-physical address in bytes, 0: the first that fits')),
  slot: ofPlace(int32(-1, 'slot of the board, -1: the first free one')),
};
export const PcDimmProperties = { ...common, size: backendSize };
export const NvdimmProperties = {
  ...common,
  unarmed: bool(false, 'tell the guest that writes may be lost'),
  uuid: str('UUID of the module; stored and reported'),
  'label-size': uint64(0n, 'bytes of the label area; stored and reported'),
  size: backendSize,
};
