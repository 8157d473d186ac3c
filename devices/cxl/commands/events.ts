import { EFFECT, type Cci, type CciCommand } from '../cci.js';
import { viewOf } from '../bytes.js';
import { RECORD_SIZE } from '../event-records.js';
import type { EventLogs } from '../event-logs.js';
import { RETURN_CODE } from '../return-code.js';

const RECORDS_HEADER = 32;
const CLEAR_HEADER = 6;

/** Event records and interrupt policy. CXL 3.1 §8.2.9.2; reference/cxl.md §5.3 */
export const eventCommands = (cci: Cci, logs: EventLogs): CciCommand[] => [
  {
    opcode: 0x0100,
    inputLength: 1,
    effects: 0,
    run: ([log = 0]) => {
      const limit = Math.floor((cci.payloadSize - RECORDS_HEADER) / RECORD_SIZE);
      return logs.read(log, limit) ?? RETURN_CODE.INVALID_INPUT;
    },
  },
  {
    opcode: 0x0101,
    inputLength: undefined,
    effects: EFFECT.LOG_CHANGE,
    run: (input) => {
      const [log = 0, flags = 0, count = 0] = input;
      if (input.length < CLEAR_HEADER + 2 * count) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
      const view = viewOf(input);
      const handles = Array.from({ length: count }, (_, i) =>
        view.getUint16(CLEAR_HEADER + 2 * i, true),
      );
      return logs.clear(log, flags, handles);
    },
  },
  { opcode: 0x0102, inputLength: 0, effects: 0, run: () => logs.policy },
  {
    opcode: 0x0103,
    inputLength: undefined,
    effects: EFFECT.CONFIG_CHANGE,
    run: (input) => logs.setPolicy(input),
  },
];
