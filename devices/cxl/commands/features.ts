import { EFFECT, type Cci, type CciCommand } from '../cci.js';
import { hexOf, viewOf } from '../bytes.js';
import { FEATURES, describeFeature, type Features } from '../features.js';
import { RETURN_CODE } from '../return-code.js';

const LIST_HEADER = 8;
const ENTRY_SIZE = 48;
const SET_HEADER = 32;
/** As QEMU: every kind of effect but a cold reset. */
const SET_EFFECTS =
  EFFECT.CONFIG_CHANGE |
  EFFECT.DATA_CHANGE |
  EFFECT.POLICY_CHANGE |
  EFFECT.LOG_CHANGE |
  EFFECT.SECURITY_CHANGE;

/** Features. CXL 3.1 §8.2.9.6; reference/cxl.md §5.4 */
export const featureCommands = (cci: Cci, features: Features): CciCommand[] => [
  {
    opcode: 0x0500,
    inputLength: 8,
    effects: 0,
    run: (input) => {
      const view = viewOf(input);
      const count = view.getUint32(0, true);
      const start = view.getUint16(4, true);
      if (count < LIST_HEADER || start >= FEATURES.length) return RETURN_CODE.INVALID_INPUT;
      const room = Math.floor((Math.min(count, cci.payloadSize) - LIST_HEADER) / ENTRY_SIZE);
      const entries = FEATURES.map(describeFeature).slice(start, start + room);
      const output = new Uint8Array(LIST_HEADER + ENTRY_SIZE * entries.length);
      viewOf(output).setUint16(0, entries.length, true);
      viewOf(output).setUint16(2, FEATURES.length, true);
      entries.forEach((entry, i) => output.set(entry, LIST_HEADER + ENTRY_SIZE * i));
      return output;
    },
  },
  {
    opcode: 0x0501,
    inputLength: 21,
    effects: 0,
    run: (input) => {
      const view = viewOf(input);
      const uuid = hexOf(input.subarray(0, 16));
      const offset = view.getUint16(16, true);
      const count = view.getUint16(18, true);
      if (features.isTransferring(uuid)) return RETURN_CODE.FEATURE_TRANSFER_IN_PROGRESS;
      if (view.getUint8(20) !== 0) return RETURN_CODE.UNSUPPORTED;
      if (offset + count > cci.payloadSize) return RETURN_CODE.INVALID_INPUT;
      return features.read(uuid, offset, count);
    },
  },
  {
    opcode: 0x0502,
    inputLength: undefined,
    effects: SET_EFFECTS,
    run: (input) => {
      const data = input.subarray(SET_HEADER);
      if (data.length === 0) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
      const view = viewOf(input);
      return features.write({
        uuid: hexOf(input.subarray(0, 16)),
        action: view.getUint32(16, true) & 7,
        offset: view.getUint16(20, true),
        version: view.getUint8(22),
        data,
      });
    },
  },
];
