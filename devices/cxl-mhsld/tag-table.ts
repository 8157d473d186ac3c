import { HostError } from '../core/host-memory.js';
import type { SharedObject, SharedObjects } from '../core/shared-object.js';
import type { BlockRange } from './owner-map.js';

/**
 * The tags of a pool's capacity, in an object beside the state object (whose layout has no room for
 * them): `NAME.tags`. Our own layout, for heads of any qmemd; other programs do not read it.
 *
 * | offset | size | field |
 * | --- | --- | --- |
 * | 0 | 8 | magic `QMEMDTG1` |
 * | 32 + 32 i | 1 | record i is in use |
 * | + 4 | 4 | first block, little-endian |
 * | + 8 | 4 | number of blocks |
 * | + 12 | 4 | place among the ranges of its tag |
 * | + 16 | 16 | tag |
 *
 * Everything is read and written under the map lock of the state object.
 */
const MAGIC = Buffer.from('QMEMDTG1', 'latin1');
const RECORD = { USED: 0, FIRST: 4, COUNT: 8, PLACE: 12, TAG: 16, SIZE: 32 } as const;
const FIRST_RECORD = 32;
/** What eight heads can track at most: 512 extents each. */
const RECORDS = 4096;
const SIZE = FIRST_RECORD + RECORDS * RECORD.SIZE;

interface TagRecord extends BlockRange {
  readonly index: number;
  readonly place: number;
  /** 32 hexadecimal digits. */
  readonly tag: string;
}

const overlaps = (a: BlockRange, b: BlockRange): boolean =>
  a.first < b.first + b.count && b.first < a.first + a.count;

/** Which ranges of blocks carry which tag. */
export class TagTable {
  readonly #objects: SharedObjects;
  readonly #name: string;
  #object: SharedObject | undefined;

  /** @param name of the state object */
  constructor(objects: SharedObjects, name: string) {
    this.#objects = objects;
    this.#name = `${name}.tags`;
  }

  /** Ranges of a tag in the order in which they were given to it. */
  find(tag: string): BlockRange[] {
    const found = this.#records().filter((record) => record.tag === tag);
    found.sort((a, b) => a.place - b.place);
    return found.map(({ first, count }) => ({ first, count }));
  }

  /**
   * Gives ranges a tag; what their blocks carried before is forgotten.
   *
   * @returns false when the table is full or damaged: the ranges then have no tag
   */
  put(tag: string, ranges: readonly BlockRange[]): boolean {
    this.forget(ranges);
    const object = this.#open(true);
    const used = new Set(this.#records().map(({ index }) => index));
    const free = Array.from({ length: RECORDS }, (_, i) => i).filter((i) => !used.has(i));
    if (object === undefined || free.length < ranges.length) return false;
    for (const [place, range] of ranges.entries())
      write(object, { ...range, tag, place, index: free[place] ?? 0 });
    return true;
  }

  /** Takes the tags off all records that touch these blocks. */
  forget(ranges: readonly BlockRange[]): void {
    for (const record of this.#records())
      if (ranges.some((range) => overlaps(range, record)))
        this.#object?.bytes.store(at(record.index) + RECORD.USED, 0);
  }

  unlink(): void {
    this.#open(false)?.unlink();
  }
  close(): void {
    this.#object?.close();
    this.#object = undefined;
  }

  #records(): TagRecord[] {
    const object = this.#open(false);
    if (object?.isWhole() !== true) return [];
    const content = Buffer.from(object.bytes.copy(0, SIZE));
    const records: TagRecord[] = [];
    for (let index = 0; index < RECORDS; index++) {
      const start = at(index);
      if (content[start + RECORD.USED] !== 1) continue;
      records.push({
        index,
        first: content.readUInt32LE(start + RECORD.FIRST),
        count: content.readUInt32LE(start + RECORD.COUNT),
        place: content.readUInt32LE(start + RECORD.PLACE),
        tag: content.toString('hex', start + RECORD.TAG, start + RECORD.SIZE),
      });
    }
    return records;
  }

  /** The object; undefined when there is none, and with `create` when it cannot be used. */
  #open(create: boolean): SharedObject | undefined {
    // Others may have removed the pool and begun it anew.
    if (this.#object?.isLinked() === false) this.close();
    this.#object ??= this.#find() ?? (create ? this.#create() : undefined);
    return this.#object;
  }

  #find(): SharedObject | undefined {
    try {
      const object = this.#objects.open(this.#name);
      if (object.size === SIZE && MAGIC.equals(object.bytes.copy(0, MAGIC.length))) return object;
      object.close();
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
    }
    return undefined;
  }

  #create(): SharedObject | undefined {
    const content = new Uint8Array(SIZE);
    content.set(MAGIC);
    try {
      return this.#objects.create(this.#name, content);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      return undefined;
    }
  }
}

const at = (index: number): number => FIRST_RECORD + index * RECORD.SIZE;

const write = ({ bytes }: SharedObject, { index, first, count, place, tag }: TagRecord): void => {
  const record = Buffer.alloc(RECORD.SIZE);
  record.writeUInt32LE(first, RECORD.FIRST);
  record.writeUInt32LE(count, RECORD.COUNT);
  record.writeUInt32LE(place, RECORD.PLACE);
  record.write(tag, RECORD.TAG, 'hex');
  for (const [i, byte] of record.entries()) bytes.store(at(index) + i, byte);
  // Last: a record that was half written when its writer died was never there.
  bytes.store(at(index) + RECORD.USED, 1);
};
