import { bytesFromInt, intFromBytes } from '../core/memory-region.js';
import { StateError } from './errno.js';
import type { StateRegions } from './regions.js';

/** Bytes of the control structure, as a C program on a 64-bit machine lays it out. */
export const CTL_SIZE = 68;
export const INTERFACE_VERSION = 1;
export const ACTION = { GET_BUFFER: 1, SET_BUFFER: 2 } as const;

interface Field {
  readonly name: string;
  readonly offset: number;
  readonly size: 4 | 8;
  read(regions: StateRegions): bigint;
  /** Absent: read-only. */
  write?(regions: StateRegions, value: bigint): void;
  /** Applied after the others of the same access. */
  readonly action?: true;
}

const action = (
  name: string,
  offset: number,
  run: { get(regions: StateRegions): void; set(regions: StateRegions): void },
): Field => ({
  name,
  offset,
  size: 4,
  action: true,
  read: () => 0n,
  write: (regions, value) => {
    if (value === BigInt(ACTION.GET_BUFFER)) run.get(regions);
    else if (value === BigInt(ACTION.SET_BUFFER)) run.set(regions);
    else throw new StateError('EINVAL', `action ${String(value)} is neither 1 nor 2`);
  },
});

/** The fields in order; what is between them is a hole. reference/vfio-device-state.md §2 */
export const CTL_FIELDS: readonly Field[] = [
  { name: 'version', offset: 0, size: 4, read: () => BigInt(INTERFACE_VERSION) },
  {
    name: 'device_state',
    offset: 4,
    size: 4,
    read: ({ control }) => BigInt(control.state),
    write: ({ control }, value) => control.setState(Number(value)),
  },
  { name: 'caps', offset: 8, size: 4, read: ({ control }) => BigInt(control.capabilities) },
  action('device_config.action', 12, {
    get: (regions) => regions.getConfig(),
    set: (regions) => regions.setConfig(),
  }),
  {
    name: 'device_config.size',
    offset: 20,
    size: 8,
    read: ({ control }) => BigInt(control.configSize()),
    write: ({ control, lengths }, value) => control.announceConfig(value, lengths.config),
  },
  action('device_memory.action', 28, {
    get: (regions) => regions.getMemory(),
    set: (regions) => regions.setMemory(),
  }),
  {
    name: 'device_memory.size',
    offset: 36,
    size: 8,
    read: ({ control }) => BigInt(control.memorySize()),
    write: ({ control }, value) => control.announceMemory(value),
  },
  {
    name: 'device_memory.pos',
    offset: 44,
    size: 8,
    read: ({ position }) => position,
    write: (regions, value) => regions.setPosition(value),
  },
  {
    name: 'system_memory.start_addr',
    offset: 52,
    size: 8,
    read: ({ start }) => start,
    write: (regions, value) => regions.setStart(value),
  },
  {
    name: 'system_memory.page_nr',
    offset: 60,
    size: 8,
    read: ({ pages }) => pages,
    write: (regions, value) => regions.query(value),
  },
];

/**
 * The fields that an access covers: it begins with one and ends with one, and covers them whole.
 *
 * @throws StateError EINVAL for any other access
 */
const fieldsOf = (offset: number, length: number): readonly Field[] => {
  const first = CTL_FIELDS.findIndex((field) => field.offset === offset);
  const last = CTL_FIELDS.findIndex((field) => field.offset + field.size === offset + length);
  if (first < 0 || last < first)
    throw new StateError(
      'EINVAL',
      `${String(length)} bytes at ${String(offset)} are no whole fields of the control structure`,
    );
  return CTL_FIELDS.slice(first, last + 1);
};

/** Reads whole fields; holes between them are 0. @throws StateError */
export const readControl = (regions: StateRegions, offset: number, length: number): Uint8Array => {
  const fields = fieldsOf(offset, length);
  regions.control.checkThere();
  const bytes = new Uint8Array(length);
  for (const field of fields) {
    const at = field.offset - offset;
    bytesFromInt(field.read(regions), bytes.subarray(at, at + field.size));
  }
  return bytes;
};

/**
 * Writes whole fields: plain ones in their order, then actions. The first that fails ends it; what
 * came before stays.
 *
 * @throws StateError EINVAL, with nothing changed, when one of them is read-only
 */
export const writeControl = (regions: StateRegions, offset: number, bytes: Uint8Array): void => {
  const fields = fieldsOf(offset, bytes.length);
  regions.control.checkThere();
  const writable = fields.map((field) => {
    const { write } = field;
    if (write === undefined) throw new StateError('EINVAL', `${field.name} is read-only`);
    const at = field.offset - offset;
    const value = intFromBytes(bytes.subarray(at, at + field.size));
    return { isAction: field.action === true, apply: () => write(regions, value) };
  });
  for (const { isAction, apply } of writable) if (!isAction) apply();
  for (const { isAction, apply } of writable) if (isAction) apply();
};
