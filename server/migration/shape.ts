import type { DeviceEntry } from '../machine/device-entry.js';
import type { Machine } from '../machine/machine.js';
import { arr, bool, enumeration, int, object, opt, str, type Infer } from '../../schema/lang.js';
import type { JsonValue } from '../../schema/json.js';
import { shapeOnBoard } from '../machine/device-shape.js';
import { DEFAULT_GRANULARITY } from '../../devices/cxl/window-config.js';
import { blockName, originObject, sharedObject, type Block } from './memories.js';

/** What the source says of itself before anything else; the destination must be of the same make. */
export const Hello = object('MigrationHello', {
  /** `one-way`: a file or a pipe, nobody answers. */
  channel: enumeration('MigrationChannel', ['two-way', 'one-way'], 'whether somebody answers'),
  machine: str('versioned machine type'),
  uuid: opt(str('of the machine, with capability validate-uuid')),
  'ram-size': int('size', 'bytes of guest memory'),
  board: arr(str('NAME=VALUE'), 'options of the board that both sides must have alike'),
  /** Capability x-ignore-shared: memory that others can map stays where it is. */
  'ignore-shared': bool('shared memory is not sent'),
  memories: arr(
    object('MigrationMemory', {
      owner: str('QOM path'),
      name: str('name of the memory'),
      size: int('size', 'bytes'),
      readonly: bool('nobody writes it, and it is not sent'),
      borrowed: opt(bool('it belongs to others as well: it is not sent')),
      object: opt(str('which object of the host has the bytes')),
      origin: opt(str('which object has those that were not written, as it is mapped privately')),
    }),
    'all memory, in the order of its numbers',
  ),
  devices: arr(
    object('MigrationDevice', {
      path: str('QOM path'),
      type: str('type name'),
      place: str('bus and address'),
      properties: arr(str('NAME=VALUE'), 'properties that both sides must have alike'),
    }),
    'all devices, in the order of their numbers',
  ),
});
export type Shape = Infer<typeof Hello>;
type MemoryShape = Shape['memories'][number];
type DeviceShape = Shape['devices'][number];

export interface Choices {
  readonly channel: Shape['channel'];
  readonly ignoreShared: boolean;
  readonly validateUuid: boolean;
}

/** @param blocks of `machine`, in the order of their numbers */
export const shapeOf = (machine: Machine, blocks: readonly Block[], choices: Choices): Shape => ({
  channel: choices.channel,
  machine: machine.platform.canonicalName,
  ...(choices.validateUuid && machine.options.uuid !== undefined
    ? { uuid: machine.options.uuid }
    : {}),
  'ram-size': machine.options.ramSize,
  board: boardOptions(machine),
  'ignore-shared': choices.ignoreShared,
  memories: blocks.map(memoryShape),
  devices: [...machine.devices.entries].map((entry) => deviceShape(machine, entry)),
});

const memoryShape = (block: Block): MemoryShape => {
  const { owner, name, size, isBorrowed } = block;
  const shape = { owner, name, size, ...(isBorrowed ? { borrowed: true } : {}) };
  if (!block.isTouched()) return { ...shape, readonly: false };
  const memory = block.memory();
  const shared = sharedObject(memory);
  const origin = originObject(memory);
  return {
    ...shape,
    readonly: memory.readonly,
    ...(shared === undefined ? {} : { object: shared }),
    ...(origin === undefined ? {} : { origin }),
  };
};

const deviceShape = (machine: Machine, entry: DeviceEntry): DeviceShape => ({
  path: entry.object.path,
  type: entry.type.name,
  place: placeOf(machine, entry),
  properties: propertiesOf(entry),
});

/** What the board has besides devices. */
const boardOptions = ({ options: { cxl, memorySlots } }: Machine): string[] => [
  `cxl=${cxl === undefined ? 'off' : 'on'}`,
  ...(cxl?.windows ?? []).flatMap(({ targets, size, granularity }, index) => [
    `cxl-fmw.${String(index)}.targets=${targets.join(' ')}`,
    `cxl-fmw.${String(index)}.size=${String(size)}`,
    `cxl-fmw.${String(index)}.interleave-granularity=${String(granularity ?? DEFAULT_GRANULARITY)}`,
  ]),
  `slots=${String(memorySlots?.slots ?? 0)}`,
  `maxmem=${String(memorySlots?.maxSize ?? 'none')}`,
  `nvdimm=${memorySlots?.nvdimm === true ? 'on' : 'off'}`,
];

const placeOf = (machine: Machine, { pci, memory }: DeviceEntry): string => {
  const fn = pci?.pci;
  if (fn?.bus !== undefined) {
    const bus = machine.devices.busObject(fn.bus)?.path ?? fn.bus.name;
    return `${bus} ${(fn.devfn >> 3).toString(16)}.${String(fn.devfn & 7)}`;
  }
  return memory === undefined ? '' : `address ${String(memory.memoryDevice.addr)}`;
};

/** Options, and the sizes of the BARs, which an option ROM has one of. */
const propertiesOf = (entry: DeviceEntry): DeviceShape['properties'] => [
  ...Object.entries(shapeOnBoard(entry).options)
    .filter(([name]) => entry.type.mayDiffer?.includes(name) !== true)
    .map(([name, value]) => `${name}=${value}`),
  ...(entry.pci?.pci.bars ?? []).map(({ index, size }) => `BAR ${String(index)}=${String(size)}`),
];

/** What of the source does not fit this machine, as a text; undefined when all does. */
export const misfit = (
  shape: Shape,
  machine: Machine,
  blocks: readonly Block[],
): string | undefined => {
  const own = shapeOf(machine, blocks, {
    channel: shape.channel,
    ignoreShared: shape['ignore-shared'],
    validateUuid: shape.uuid !== undefined,
  });
  return (
    differs('machine type', shape.machine, own.machine) ??
    (shape.uuid === undefined ? undefined : differs('UUID', shape.uuid, own.uuid ?? 'none')) ??
    differs('guest memory', shape['ram-size'], own['ram-size']) ??
    valuesMisfit('of the board', shape.board, own.board) ??
    devicesMisfit(shape.devices, own.devices) ??
    memoriesMisfit(shape.memories, own.memories)
  );
};

const differs = (what: string, source: JsonValue, here: JsonValue): string | undefined =>
  source === here
    ? undefined
    : `${what} is ${String(source)} at the source and ${String(here)} here`;

const devicesMisfit = (
  source: readonly DeviceShape[],
  here: readonly DeviceShape[],
): string | undefined => {
  const byPath = new Map(here.map((device) => [device.path, device]));
  for (const device of source) {
    const own = byPath.get(device.path);
    if (own === undefined) return `there is no ${device.type} ${device.path} here`;
    byPath.delete(device.path);
    const what = `of ${device.path}`;
    const problem =
      differs(`type ${what}`, device.type, own.type) ??
      differs(`place ${what}`, device.place, own.place) ??
      valuesMisfit(what, device.properties, own.properties);
    if (problem !== undefined) return problem;
  }
  const [extra] = byPath.values();
  return extra === undefined ? undefined : `the source has no ${extra.type} ${extra.path}`;
};

/** @param whose stands behind the name of a value that differs */
const valuesMisfit = (
  whose: string,
  source: readonly string[],
  here: readonly string[],
): string | undefined => {
  const left = new Map(here.map(split));
  for (const [name, value] of source.map(split)) {
    const problem = differs(`property '${name}' ${whose}`, value, left.get(name) ?? 'absent');
    if (problem !== undefined) return problem;
    left.delete(name);
  }
  const [extra] = left;
  return extra && differs(`property '${extra[0]}' ${whose}`, 'absent', extra[1]);
};

const split = (text: string): [name: string, value: string] => {
  const at = text.indexOf('=');
  return [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
};

const memoriesMisfit = (
  source: readonly MemoryShape[],
  here: readonly MemoryShape[],
): string | undefined => {
  const left = new Map(here.map((memory) => [blockName(memory), memory]));
  for (const memory of source) {
    const name = blockName(memory);
    const own = left.get(name);
    if (own === undefined) return `there is no ${name} here`;
    left.delete(name);
    const problem =
      differs(`size of ${name}`, memory.size, own.size) ??
      differs(`sharing of ${name}`, memory.borrowed === true, own.borrowed === true) ??
      differs(`readonly of ${name}`, memory.readonly, own.readonly);
    if (problem !== undefined) return problem;
  }
  const [extra] = left.keys();
  return extra === undefined ? undefined : `the source has no ${extra}`;
};
