import { EFFECT, type CciCommand } from '../cci.js';
import { viewOf } from '../bytes.js';
import type { DeviceTime } from '../device-time.js';
import { RETURN_CODE } from '../return-code.js';

/** Get and Set Timestamp. CXL 3.1 §8.2.9.4 */
export const timestampCommands = (time: DeviceTime): CciCommand[] => [
  {
    opcode: 0x0300,
    inputLength: 0,
    effects: 0,
    run: () => {
      const output = new Uint8Array(8);
      viewOf(output).setBigUint64(0, time.now(), true);
      return output;
    },
  },
  {
    opcode: 0x0301,
    inputLength: 8,
    effects: EFFECT.POLICY_CHANGE,
    run: (input) => {
      time.set(viewOf(input).getBigUint64(0, true));
      return RETURN_CODE.SUCCESS;
    },
  },
];
