import { refused } from '../../schema/error.js';
import type { MemdevBackend } from '../core/memdev.js';
import { bool, link, ofPlace, size, uint32, uint64, type Property } from '../core/property.js';

const MIN_BLOCK_SIZE = 1n << 20n;
/** As QEMU where the host has transparent huge pages of that size. */
const DEFAULT_BLOCK_SIZE = 2n << 20n;

/** @throws QmpError when it is too small or no power of two */
const checkBlockSize = (value: bigint): bigint => {
  if (value < MIN_BLOCK_SIZE)
    throw refused(`'block-size' property has to be at least 0x${MIN_BLOCK_SIZE.toString(16)}`);
  if ((value & (value - 1n)) !== 0n)
    throw refused(`'block-size' property has to be a power of two`);
  return value;
};

/** A size without a default to show: it belongs to the instance. */
const ownSize = (dflt: bigint, doc: string) => ({ ...size(dflt, doc), showDefault: false });

const plainBlockSize = ownSize(
  DEFAULT_BLOCK_SIZE,
  'bytes of a block, a power of two, 1 MiB at least',
);
const blockSize: typeof plainBlockSize = {
  ...plainBlockSize,
  parse: (value, name, typeName) => checkBlockSize(plainBlockSize.parse(value, name, typeName)),
  parseText: (text, name, typeName) =>
    checkBlockSize(plainBlockSize.parseText(text, name, typeName)),
};

const refuseSize = (): never => {
  throw refused("Property 'virtio-mem.size' is not writable");
};
/** What the guest has: seen, never set. */
const pluggedSize: Property<bigint> & { readonly default: bigint } = {
  ...ownSize(0n, 'bytes that the guest has'),
  parse: refuseSize,
  parseText: refuseSize,
};

export const VirtioMemPciProperties = {
  memdev: link<MemdevBackend>('memory-backend', 'the memory, all that can be plugged'),
  node: ofPlace(uint32(0, 'NUMA node that the memory belongs to')),
  memaddr: ofPlace(uint64(0n, 'guest-physical address in bytes, 0: the first that fits')),
  'block-size': blockSize,
  'requested-size': ownSize(
    0n,
    'bytes that the guest is asked to have, a multiple of block-size; can be set at any time',
  ),
  size: pluggedSize,
  prealloc: ofPlace(bool(false, 'allocate memory as it is plugged; stored and reported')),
};
