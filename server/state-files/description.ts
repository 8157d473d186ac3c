import { decodeValue, encodeValue } from '../../devices/state/value-codec.js';
import type { OwnMemory } from '../../devices/core/own-memory.js';
import type { StateValue } from '../../devices/core/device.js';
import { refused } from '../../schema/error.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import { shapeDifference, shapeOf, type DeviceShape } from '../machine/device-shape.js';

/** Characters of a name or a value. */
const LONGEST = 255;

/** What a saved state is the state of. */
export interface Description {
  readonly shape: DeviceShape;
  /** The device's own memory, in order. */
  readonly memories: readonly DescribedMemory[];
}
export interface DescribedMemory {
  readonly name: string;
  readonly size: bigint;
  /** Read-only memory does not change, so it is named and not saved. */
  readonly readonly: boolean;
}

/** What the state of a device is the state of. */
export const describe = (entry: DeviceEntry): Description => ({
  shape: shapeOf(entry),
  memories: describeMemories(entry.memories.list),
});
export const describeMemories = (memories: readonly OwnMemory[]): readonly DescribedMemory[] =>
  memories.map(({ name, memory }) => ({
    name,
    size: memory.size,
    readonly: memory.readonly,
  }));

export const encodeDescription = ({ shape, memories }: Description): Uint8Array =>
  encodeValue({
    type: shape.typeName,
    options: { ...shape.options },
    memories: memories.map((memory) => ({ ...memory })),
  });

/** @throws QmpError naming the place */
export const decodeDescription = (bytes: Uint8Array): Description => {
  const value = decodeValue(bytes);
  const { type, options, memories } = fieldsOf(value);
  if (typeof type !== 'string' || type.length > LONGEST || !Array.isArray(memories))
    throw wrongKind();
  return {
    shape: {
      typeName: type,
      options: Object.fromEntries(Object.entries(fieldsOf(options)).map(text)),
    },
    memories: memories.map((memory) => {
      const { name, size, readonly } = fieldsOf(memory);
      if (typeof name !== 'string' || name.length > LONGEST) throw wrongKind();
      if (typeof size !== 'bigint' || size < 0n) throw wrongKind();
      if (typeof readonly !== 'boolean') throw wrongKind();
      return { name, size, readonly };
    }),
  };
};

const text = ([name, value]: [string, StateValue | undefined]): [string, string] => {
  if (typeof value !== 'string' || name.length > LONGEST || value.length > LONGEST)
    throw wrongKind();
  return [name, value];
};
const fieldsOf = (value: StateValue | undefined): Partial<Record<string, StateValue>> => {
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array)
    throw wrongKind();
  return value;
};
const wrongKind = () => refused('it is no description of a device');

/**
 * @param theirs what the state was saved from
 * @returns the first difference as a clause about the device, undefined when there is none
 */
export const difference = (mine: Description, theirs: Description): string | undefined => {
  const shape = shapeDifference(mine.shape, theirs.shape);
  if (shape !== undefined) return shape;
  const count = Math.max(mine.memories.length, theirs.memories.length);
  for (let i = 0; i < count; i++) {
    const [my, their] = [mine.memories[i], theirs.memories[i]];
    if (show(my) !== show(their)) return `has ${show(my)}, the state ${show(their)}`;
  }
  return undefined;
};

const show = (memory: DescribedMemory | undefined): string =>
  memory === undefined
    ? 'no more memory'
    : `${memory.readonly ? 'read-only ' : ''}memory '${memory.name}' of ${String(memory.size)} bytes`;
