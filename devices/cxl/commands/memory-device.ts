import type { HostMemory } from '../../core/host-memory.js';
import { CAPACITY_UNIT } from '../addresses.js';
import { EFFECT, type Cci, type CciCommand } from '../cci.js';
import { viewOf } from '../bytes.js';
import type { Media } from '../media.js';
import { LOG_CAPACITY } from '../event-logs.js';
import { POISON_LIMIT } from '../poison-list.js';
import { RETURN_CODE } from '../return-code.js';

const IDENTITY_SIZE = 69;
const REVISION = 'BWFW VERSION 00';
const LABEL_HEADER = 8;

export interface MemoryDeviceParts {
  readonly cci: Cci;
  readonly media: Media;
  readonly labels: HostMemory | undefined;
}

/** Whether the capacities can be told in units of 256 MiB. */
const isWhole = ({ volatileSize, persistentSize }: Media): boolean =>
  volatileSize % CAPACITY_UNIT === 0n && persistentSize % CAPACITY_UNIT === 0n;

const identity = ({ media, labels }: MemoryDeviceParts): Uint8Array => {
  const output = new Uint8Array(IDENTITY_SIZE);
  const view = viewOf(output);
  output.set(Buffer.from(REVISION, 'latin1'));
  view.setBigUint64(16, media.staticSize / CAPACITY_UNIT, true);
  view.setBigUint64(24, media.volatileSize / CAPACITY_UNIT, true);
  view.setBigUint64(32, media.persistentSize / CAPACITY_UNIT, true);
  view.setUint32(56, Number(BigInt.asUintN(32, labels?.size ?? 0n)), true);
  view.setUint16(60, POISON_LIMIT, true);
  view.setUint16(67, LOG_CAPACITY, true);
  return output;
};

/** Identify Memory Device and Get Partition Info. CXL 3.1 §8.2.9.9.1, §8.2.9.9.2.1 */
export const identityCommands = (parts: MemoryDeviceParts): CciCommand[] => [
  {
    opcode: 0x4000,
    inputLength: 0,
    effects: 0,
    run: () => (isWhole(parts.media) ? identity(parts) : RETURN_CODE.INTERNAL_ERROR),
  },
  {
    opcode: 0x4100,
    inputLength: 0,
    effects: 0,
    run: () => {
      const { media } = parts;
      if (!isWhole(media)) return RETURN_CODE.INTERNAL_ERROR;
      const output = new Uint8Array(32);
      const view = viewOf(output);
      view.setBigUint64(0, media.volatileSize / CAPACITY_UNIT, true);
      view.setBigUint64(8, media.persistentSize / CAPACITY_UNIT, true);
      return output;
    },
  },
];

/** Get and Set LSA. CXL 3.1 §8.2.9.9.2.3; reference/cxl.md §5.5 */
export const labelCommands = ({ cci, labels }: MemoryDeviceParts): CciCommand[] => [
  {
    opcode: 0x4102,
    inputLength: 8,
    effects: 0,
    run: (input) => {
      const view = viewOf(input);
      const offset = view.getUint32(0, true);
      const length = view.getUint32(4, true);
      if (BigInt(offset + length) > (labels?.size ?? 0n) || length > cci.payloadSize)
        return RETURN_CODE.INVALID_INPUT;
      const output = new Uint8Array(length);
      labels?.read(BigInt(offset), output);
      return output;
    },
  },
  {
    opcode: 0x4103,
    inputLength: undefined,
    effects: EFFECT.CONFIG_CHANGE | EFFECT.DATA_CHANGE,
    run: (input) => {
      if (input.length < LABEL_HEADER) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
      const offset = viewOf(input).getUint32(0, true);
      const data = input.subarray(LABEL_HEADER);
      if (BigInt(offset + data.length) > (labels?.size ?? 0n)) return RETURN_CODE.INVALID_INPUT;
      if (data.length > 0) labels?.write(BigInt(offset), data);
      return RETURN_CODE.SUCCESS;
    },
  },
];
