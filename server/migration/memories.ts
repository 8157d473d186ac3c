import { fstatSync, readFileSync } from 'node:fs';
import type { FilePlace, HostMemory } from '../../devices/core/host-memory.js';
import type { OwnMemory } from '../../devices/core/own-memory.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import type { Machine } from '../machine/machine.js';

/** A piece of memory that goes along with a machine. */
export interface Block {
  /** QOM path of the device that it belongs to; `/machine` for guest memory. */
  readonly owner: string;
  /** Unique for its owner. */
  readonly name: string;
  readonly size: bigint;
  /** Sets the memory up when nobody has touched it yet. */
  readonly memory: () => HostMemory;
  /** False for memory that was never set up: it is all zeros. */
  readonly isTouched: () => boolean;
  /** Whether it belongs to others as well: it is never sent, and both sides must have it. */
  readonly isBorrowed: boolean;
  /** Whether it is still part of the machine. */
  readonly isThere: () => boolean;
}

const MACHINE = '/machine';

/** The memory of a machine: guest memory first, then that of its devices. */
export const blocksOf = (machine: Machine): Block[] => {
  const ram = [...machine.objects.backends]
    .filter(({ owner }) => owner === MACHINE)
    .map((backend, index) => ({
      owner: MACHINE,
      name: `ram${String(index)}`,
      size: backend.size,
      memory: () => backend.memory,
      isTouched: () => backend.isSetUp,
      isBorrowed: false,
      isThere: () => true,
    }));
  const own = [...machine.devices.entries].flatMap(blocksOfDevice);
  return [...ram, ...own];
};

const blocksOfDevice = (entry: DeviceEntry): Block[] => [
  ...entry.memories.list.map((own) => blockOf(entry, own, false)),
  ...entry.memories.borrowed.map((own) => blockOf(entry, own, true)),
];

const blockOf = (entry: DeviceEntry, { name, memory }: OwnMemory, isBorrowed: boolean): Block => {
  const isSame = (own: OwnMemory): boolean => own.memory === memory;
  return {
    ...{ owner: entry.object.path, name, size: memory.size, isBorrowed },
    memory: () => memory,
    isTouched: () => true,
    isThere: () => {
      const { list, borrowed } = entry.memories;
      return entry.realized && (list.some(isSame) || borrowed.some(isSame));
    },
  };
};

/** What a block is called in texts. */
export const blockName = ({ owner, name }: Pick<Block, 'owner' | 'name'>): string =>
  `memory '${name}' of ${owner}`;

/**
 * Which object of the host the bytes belong to, for memory that others can map: the same text in two
 * daemons stands for the same bytes.
 */
export const sharedObject = (memory: HostMemory): string | undefined => {
  const { descriptor } = memory;
  if (descriptor === undefined) return undefined;
  const { dev, ino } = fstatSync(descriptor.fd, { bigint: true });
  return placeText({ dev, ino, offset: descriptor.offset });
};
/** The same of an object whose bytes show through where nobody has written here. */
export const originObject = ({ origin }: HostMemory): string | undefined =>
  origin === undefined ? undefined : placeText(origin);

/** Whether memories of these objects and sizes have bytes in common. */
export const overlap = (one: Stretch, other: Stretch): boolean => {
  const [a, b] = [split(one.object), split(other.object)];
  return a.file === b.file && a.offset < b.offset + other.size && b.offset < a.offset + one.size;
};
interface Stretch {
  readonly object: string;
  readonly size: bigint;
}
const placeText = ({ dev, ino, offset }: FilePlace): string =>
  `${bootId()}:${String(dev)}:${String(ino)}:${String(offset)}`;
const split = (object: string): { file: string; offset: bigint } => {
  const at = object.lastIndexOf(':');
  const offset = /^\d+$/.test(object.slice(at + 1)) ? BigInt(object.slice(at + 1)) : 0n;
  return { file: object.slice(0, Math.max(at, 0)), offset };
};

const bootId = (): string => {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    // A host that cannot be told from others shares nothing with itself.
    return `process ${String(process.pid)}`;
  }
};
