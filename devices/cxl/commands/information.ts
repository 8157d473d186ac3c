import type { CciCommand, Cci } from '../cci.js';
import { viewOf } from '../bytes.js';
import { RETURN_CODE } from '../return-code.js';

/** Who a component is, as Identify tells it. CXL 3.1 §8.2.9.1.1 */
export interface ComponentIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
  readonly serial: bigint;
  readonly type: 'switch' | 'type3';
}
const COMPONENT_TYPE = { switch: 0, type3: 3 } as const;

/** log2 of the response limits that can be set. */
const RESPONSE_LIMIT = { min: 8, max: 10 } as const;

/** 0001h Identify. */
export const identifyCommand = (cci: Cci, identity: () => ComponentIdentity): CciCommand => ({
  opcode: 0x0001,
  inputLength: 0,
  effects: 0,
  run: () => {
    const { vendorId, deviceId, subsystemVendorId, subsystemId, serial, type } = identity();
    const output = new Uint8Array(18);
    const view = viewOf(output);
    view.setUint16(0, vendorId, true);
    view.setUint16(2, deviceId, true);
    view.setUint16(4, subsystemVendorId, true);
    view.setUint16(6, subsystemId, true);
    view.setBigUint64(8, serial, true);
    view.setUint8(16, Math.log2(cci.payloadSize));
    view.setUint8(17, COMPONENT_TYPE[type]);
    return output;
  },
});

/** 0002h Background Operation Status. CXL 3.1 §8.2.9.1.2 */
export const backgroundStatusCommand = (cci: Cci): CciCommand => ({
  opcode: 0x0002,
  inputLength: 0,
  effects: 0,
  run: () => {
    const { percent, running, opcode, returnCode } = cci.background;
    const output = new Uint8Array(8);
    const view = viewOf(output);
    view.setUint8(0, (percent << 1) | (running ? 1 : 0));
    view.setUint16(2, opcode, true);
    view.setUint16(4, returnCode, true);
    return output;
  },
});

/** 0003h and 0004h Get and Set Response Message Limit. CXL 3.1 §8.2.9.1.3 */
export const responseLimitCommands = (cci: Cci): CciCommand[] => [
  {
    opcode: 0x0003,
    inputLength: 0,
    effects: 0,
    run: () => Uint8Array.of(Math.log2(cci.payloadSize)),
  },
  {
    opcode: 0x0004,
    inputLength: 1,
    effects: 0,
    run: ([limit = 0]) => {
      if (limit < RESPONSE_LIMIT.min || limit > RESPONSE_LIMIT.max)
        return RETURN_CODE.INVALID_INPUT;
      cci.payloadSize = 2 ** limit;
      return Uint8Array.of(limit);
    },
  },
];

/** 0005h Request Abort Background Operation. CXL 3.1 §8.2.9.1.5 */
export const abortCommand = (cci: Cci): CciCommand => ({
  opcode: 0x0005,
  inputLength: 0,
  effects: 0,
  run: () => {
    if (!cci.abortable) return RETURN_CODE.ABORT_NOT_SUPPORTED;
    cci.background.abort();
    return RETURN_CODE.SUCCESS;
  },
});
