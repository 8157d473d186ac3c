import { EFFECT, type CciCommand } from '../cci.js';
import { viewOf } from '../bytes.js';
import { FIRMWARE_SLOTS, TRANSFER, type Firmware, type FirmwarePart } from '../firmware.js';
import { RETURN_CODE } from '../return-code.js';

const PART_HEADER = 128;
/** Unit of offsets in images. */
const OFFSET_UNIT = 128;
const ONLINE_ACTIVATION = 1;
const RUNTIME_MS = { full: 10_000, part: 2_000 } as const;

/** The revision that a slot reports. */
const revision = (slot: number): Uint8Array =>
  Uint8Array.from(Buffer.from(`BWFW VERSION ${String(slot - 1)}`, 'latin1'));

const partOf = (input: Uint8Array): FirmwarePart => {
  const view = viewOf(input);
  return {
    action: view.getUint8(0),
    slot: view.getUint8(1),
    offset: view.getUint32(4, true) * OFFSET_UNIT,
    length: input.length - PART_HEADER,
  };
};

/** Get FW Info, Transfer FW, Activate FW. CXL 3.1 §8.2.9.3; reference/cxl.md §5.4 */
export const firmwareCommands = (firmware: Firmware): CciCommand[] => [
  {
    opcode: 0x0200,
    inputLength: 0,
    effects: 0,
    run: () => {
      const { active, staged } = firmware.slots;
      const output = new Uint8Array(80);
      output.set([FIRMWARE_SLOTS, active | (staged << 3), ONLINE_ACTIVATION]);
      for (let slot = 1; slot <= FIRMWARE_SLOTS; slot++)
        if (firmware.isPresent(slot)) output.set(revision(slot), 16 * slot);
      return output;
    },
  },
  {
    opcode: 0x0201,
    inputLength: undefined,
    effects: EFFECT.BACKGROUND | EFFECT.ABORTABLE,
    run: (input) => {
      if (input.length < PART_HEADER) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
      const part = partOf(input);
      const code = firmware.transfer(part);
      if (code !== RETURN_CODE.SUCCESS || part.action === TRANSFER.ABORT) return code;
      return { runtimeMs: part.action === TRANSFER.FULL ? RUNTIME_MS.full : RUNTIME_MS.part };
    },
    accepts: (input) => input.length >= PART_HEADER,
    finish: (input) => firmware.transferred(partOf(input)),
  },
  {
    opcode: 0x0202,
    inputLength: 2,
    effects: EFFECT.BACKGROUND | EFFECT.ABORTABLE,
    run: ([action = 0, slot = 0]) => firmware.activate(action, slot),
  },
];
