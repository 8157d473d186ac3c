import { EFFECT, type Cci, type CciCommand } from '../cci.js';
import { bytesOfHex, hexOf, viewOf } from '../bytes.js';
import type { DynamicCapacity } from '../dynamic-capacity.js';
import { NO_TAG } from '../extents.js';
import { RETURN_CODE, type ReturnCode } from '../return-code.js';

const { INVALID_INPUT, RESOURCES_EXHAUSTED, SUCCESS } = RETURN_CODE;

const TAG_SIZE = 16;
const LIST_HEADER = 16;
/** Tag, flags, reference bitmap, pending bitmap; one bit for each host. */
const ENTRY = { SIZE: 84, FLAGS: 16, REFERENCES: 20, PENDING: 52 } as const;
/** The fabric manager refers to the tag. */
const FM_HOLDS = 1;
/** Both bitmaps tell something. */
const VALIDITY = 3;

const addReference = (capacity: DynamicCapacity, tag: string): ReturnCode => {
  const { references } = capacity;
  if (tag === NO_TAG || !capacity.hasTag(tag)) return INVALID_INPUT;
  if (references.tags.has(tag)) return SUCCESS;
  if (references.isFull) return RESOURCES_EXHAUSTED;
  references.add(tag);
  return SUCCESS;
};
const removeReference = (capacity: DynamicCapacity, tag: string): ReturnCode => {
  if (!capacity.references.tags.has(tag)) return INVALID_INPUT;
  capacity.removeReference(tag);
  return SUCCESS;
};

/** Every tag that somebody has, is offered, or that the fabric manager refers to. */
const tagsOf = ({ accepted, pending, references }: DynamicCapacity): string[] => {
  const extents = [...accepted, ...pending.flatMap((group) => group.extents)];
  const tags = new Set([...extents.map(({ tag }) => tag), ...references.tags]);
  tags.delete(NO_TAG);
  return [...tags].sort();
};

const writeTag = (capacity: DynamicCapacity, tag: string): Uint8Array => {
  const entry = new Uint8Array(ENTRY.SIZE);
  entry.set(bytesOfHex(tag));
  entry[ENTRY.FLAGS] = capacity.references.tags.has(tag) ? FM_HOLDS : 0;
  const offered = capacity.pending.flatMap(({ extents }) => extents);
  entry[ENTRY.REFERENCES] = capacity.accepted.some((extent) => extent.tag === tag) ? 1 : 0;
  entry[ENTRY.PENDING] = offered.some((extent) => extent.tag === tag) ? 1 : 0;
  return entry;
};

const listTags = (
  capacity: DynamicCapacity,
  limit: number,
  start: number,
  count: number,
): Uint8Array | ReturnCode => {
  const tags = tagsOf(capacity);
  if (start > tags.length) return INVALID_INPUT;
  const room = Math.floor((limit - LIST_HEADER) / ENTRY.SIZE);
  const shown = tags.slice(start, start + Math.min(count, room));
  const output = new Uint8Array(LIST_HEADER + ENTRY.SIZE * shown.length);
  const view = viewOf(output);
  view.setUint32(0, capacity.generation, true);
  view.setUint32(4, tags.length, true);
  view.setUint32(8, shown.length, true);
  view.setUint8(12, VALIDITY);
  shown.forEach((tag, i) => output.set(writeTag(capacity, tag), LIST_HEADER + ENTRY.SIZE * i));
  return output;
};

/** Tags as the fabric manager has them. CXL 3.1 §7.6.7.6.7 to §7.6.7.6.9 */
export const dcdTagCommands = (cci: Cci, capacity: DynamicCapacity): CciCommand[] => [
  {
    opcode: 0x5606,
    inputLength: TAG_SIZE,
    effects: EFFECT.CONFIG_CHANGE,
    run: (input) => addReference(capacity, hexOf(input)),
  },
  {
    opcode: 0x5607,
    inputLength: TAG_SIZE,
    effects: EFFECT.CONFIG_CHANGE,
    run: (input) => removeReference(capacity, hexOf(input)),
  },
  {
    opcode: 0x5608,
    inputLength: 8,
    effects: 0,
    run: (input) => {
      const view = viewOf(input);
      return listTags(capacity, cci.payloadSize, view.getUint32(0, true), view.getUint32(4, true));
    },
  },
];
