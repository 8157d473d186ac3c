import type { Cci, CciCommand } from '../cci.js';
import { bytesOfHex, hexOf, viewOf } from '../bytes.js';
import { RETURN_CODE } from '../return-code.js';

/** The command effects log, the only one. CXL 3.1 §8.2.9.5.2.1 */
const EFFECTS_LOG = '0da9c0b5bf414b788f7996b1623b3f17';
const ENTRY_SIZE = 4;

/** Opcode and effects of every command. */
const effectsLog = (cci: Cci): Uint8Array => {
  const { commands } = cci;
  const log = new Uint8Array(ENTRY_SIZE * commands.length);
  const view = viewOf(log);
  commands.forEach(({ opcode, effects }, i) => {
    view.setUint16(ENTRY_SIZE * i, opcode, true);
    view.setUint16(ENTRY_SIZE * i + 2, effects, true);
  });
  return log;
};

/** Get Supported Logs and Get Log. CXL 3.1 §8.2.9.5; reference/cxl.md §5.4 */
export const logCommands = (cci: Cci): CciCommand[] => [
  {
    opcode: 0x0400,
    inputLength: 0,
    effects: 0,
    run: () => {
      const output = new Uint8Array(28);
      const view = viewOf(output);
      view.setUint16(0, 1, true);
      output.set(bytesOfHex(EFFECTS_LOG), 8);
      view.setUint32(24, effectsLog(cci).length, true);
      return output;
    },
  },
  {
    opcode: 0x0401,
    inputLength: 24,
    effects: 0,
    run: (input) => {
      const view = viewOf(input);
      const offset = view.getUint32(16, true);
      const length = view.getUint32(20, true);
      if (length > cci.payloadSize) return RETURN_CODE.INVALID_INPUT;
      if (hexOf(input.subarray(0, 16)) !== EFFECTS_LOG) return RETURN_CODE.INVALID_LOG;
      const log = effectsLog(cci);
      if (offset + length > log.length) return RETURN_CODE.INVALID_INPUT;
      return log.slice(offset, offset + length);
    },
  },
];
