import type { Property } from '../../devices/core/property.js';
import type { DeviceEntry } from './device-entry.js';

/** What two devices must have in common to load each other's state. */
export interface DeviceShape {
  readonly typeName: string;
  /** Options that decide about registers and memory, as `qom-get` shows them. */
  readonly options: Readonly<Record<string, string>>;
}

/**
 * The shape of a device: its type and its options, without those that tell where it sits, what of
 * the host it takes, or what changes while it runs.
 */
export const shapeOf = (entry: DeviceEntry): DeviceShape => shapeBy(entry, decides);

/** The same, for a device that moves with its board: what that sees of it is part of the shape. */
export const shapeOnBoard = (entry: DeviceEntry): DeviceShape =>
  shapeBy(entry, (property) => decides(property) || property.ofPlace === 'board');

const shapeBy = (
  { type, properties, device }: DeviceEntry,
  isPart: (property: Property) => boolean,
): DeviceShape => {
  const { liveProperties = {} } = device;
  const options = Object.entries(properties.definitions)
    .filter(([name, property]) => isPart(property) && liveProperties[name] === undefined)
    .map(([name]) => [name, String(properties.show(name))] as const);
  return { typeName: type.name, options: Object.fromEntries(options) };
};

/** Texts are names and paths of the host. */
const decides = ({ link, ofPlace, qomType }: Property): boolean =>
  link === undefined && ofPlace === undefined && qomType !== 'str';

/**
 * @param theirs the shape that the state was saved from
 * @returns the first difference as a clause about the device, undefined when there is none
 */
export const shapeDifference = (mine: DeviceShape, theirs: DeviceShape): string | undefined => {
  if (mine.typeName !== theirs.typeName)
    return `is of type '${mine.typeName}', the state of type '${theirs.typeName}'`;
  const names = new Set([...Object.keys(mine.options), ...Object.keys(theirs.options)]);
  for (const name of names) {
    const [my, their] = [optionOf(mine, name), optionOf(theirs, name)];
    if (my !== their)
      return `has ${describe(name, my)}, the state was saved with ${describe(name, their)}`;
  }
  return undefined;
};

const optionOf = ({ options }: DeviceShape, name: string): string | undefined =>
  Object.hasOwn(options, name) ? options[name] : undefined;
const describe = (name: string, value: string | undefined): string =>
  value === undefined ? `no option '${name}'` : `${name}=${value}`;
