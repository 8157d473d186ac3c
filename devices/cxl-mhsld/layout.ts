import { refused } from '../../schema/error.js';
import type { SharedObject } from '../core/shared-object.js';

/** Heads of a device: the owner mask of a block is one byte. */
export const HEADS = 8;
/** Unit of ownership in bytes. */
export const BLOCK_SIZE = 2n * 1024n * 1024n;
/** Head of a logical device that no head is attached to. */
export const UNASSIGNED = 0xff;

/**
 * The shared state of a pool, byte by byte: one owner mask per block follows the header.
 *
 * @see reference/cxl.md §9.2
 */
export const LAYOUT = {
  HEADS: { offset: 0, size: 1 },
  LDS: { offset: 1, size: 1 },
  /** A byte per logical device: the head that it is attached to. */
  LD_MAP: { offset: 2, size: 8 },
  /**
   * Moves from head to head that are under way, a byte each: bits 0 to 2 to whom, 3 to 5 from whom,
   * 6 and 7 how far it is, 0 for a byte that is not used. Padding in the original, which leaves it 0.
   */
  MOVES: { offset: 10, size: 6 },
  /** Number of blocks, u64. */
  BLOCKS: { offset: 16, size: 8 },
} as const;

/**
 * Where the owner masks begin: in the original layout, and in the one that keeps 72 bytes of link
 * information of the heads in front of them. Nothing but the size of the object tells which.
 */
const OWNERS_AT = [24, 96] as const;

/** Where things are in one state object. */
export interface PoolLayout {
  readonly blocks: number;
  /** Offset of the owner mask of block 0. */
  readonly owners: number;
}

/** The content of a new object: nothing is owned, nobody attached. */
export const emptyState = (blocks: number): Uint8Array => {
  const content = new Uint8Array(OWNERS_AT[0] + blocks);
  content[LAYOUT.HEADS.offset] = HEADS;
  content[LAYOUT.LDS.offset] = HEADS;
  content.fill(UNASSIGNED, LAYOUT.LD_MAP.offset, LAYOUT.LD_MAP.offset + LAYOUT.LD_MAP.size);
  new DataView(content.buffer).setBigUint64(LAYOUT.BLOCKS.offset, BigInt(blocks), true);
  return content;
};

/**
 * Recognises a state object and checks every field before anything in it is believed.
 *
 * @param blocks that the device manages
 * @throws QmpError GenericError that names the object, what it says and what was expected
 */
export const readLayout = (object: SharedObject, blocks: number): PoolLayout => {
  const bad = (what: string): never => {
    throw refused(`mhsld state '${object.name}' ${what}`);
  };
  const { size } = object;
  if (size < OWNERS_AT[0])
    bad(`has ${String(size)} bytes, too few for a header of ${String(OWNERS_AT[0])}`);
  const header = object.bytes.copy(0, OWNERS_AT[0]);
  const view = new DataView(header.buffer);
  const heads = view.getUint8(LAYOUT.HEADS.offset);
  const lds = view.getUint8(LAYOUT.LDS.offset);
  const count = view.getBigUint64(LAYOUT.BLOCKS.offset, true);
  if (heads !== HEADS) bad(`has ${String(heads)} heads, not ${String(HEADS)}`);
  if (lds !== HEADS) bad(`has ${String(lds)} logical devices, not ${String(HEADS)}`);
  if (count !== BigInt(blocks)) bad(`has ${String(count)} blocks, the device ${String(blocks)}`);
  const owners = OWNERS_AT.find((at) => size === at + blocks);
  return owners === undefined
    ? bad(`has ${String(size)} bytes, which no layout of ${String(blocks)} blocks has`)
    : { blocks, owners };
};

/**
 * Whether another program made the object: the original one leaves 0 where no head is attached. It
 * counts blocks from another place as soon as there is static memory. reference/cxl.md §9.5
 */
export const isForeign = ({ bytes }: SharedObject): boolean =>
  [...bytes.copy(LAYOUT.LD_MAP.offset, LAYOUT.LD_MAP.size)].some(
    (head, ld) => head !== ld && head !== UNASSIGNED,
  );

/** The owner mask of a head. */
export const maskOf = (head: number): number => 1 << head;

/** Heads in an owner mask, ascending. */
export const headsIn = (mask: number): number[] =>
  Array.from({ length: HEADS }, (_, head) => head).filter((head) => (mask & maskOf(head)) !== 0);
