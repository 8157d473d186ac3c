import type { Cci, CciCommand } from '../cci.js';
import { viewOf } from '../bytes.js';
import { RETURN_CODE } from '../return-code.js';
import { Offer } from '../../pci/offers.js';

/** The command interface that the fabric manager reaches through the ports of a switch. */
export const FM_OWNED_LD = new Offer<Cci>('FM-owned LD');

/** Port or LD, target type, size of the message. CXL 3.1 §7.6.7.3.1 */
const TUNNEL_HEADER = 4;
const PORT_OR_LD = 0;
/** Category, tag, reserved, opcode, length, return code, vendor status. §7.6.3 */
const MESSAGE_HEADER = 12;
const CATEGORY = { REQUEST: 0, RESPONSE: 1 } as const;

/** 5300h Tunnel Management Command: hands a message on. @param target by port or LD number */
export const tunnelCommand = (target: (id: number) => Cci | undefined): CciCommand => ({
  opcode: 0x5300,
  inputLength: undefined,
  effects: 0,
  run: (input) => {
    if (input.length < TUNNEL_HEADER + MESSAGE_HEADER) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
    const view = viewOf(input);
    const message = input.subarray(TUNNEL_HEADER);
    const length = view.getUint16(9, true) | (view.getUint8(11) << 16);
    if (view.getUint16(2, true) !== message.length || message.length !== MESSAGE_HEADER + length)
      return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
    if (view.getUint8(1) !== PORT_OR_LD || view.getUint8(TUNNEL_HEADER) !== CATEGORY.REQUEST)
      return RETURN_CODE.INVALID_INPUT;
    const cci = target(view.getUint8(0));
    return cci === undefined ? RETURN_CODE.INVALID_INPUT : exchange(cci, message);
  },
});

const exchange = (cci: Cci, message: Uint8Array): Uint8Array => {
  const request = viewOf(message);
  const opcode = request.getUint16(3, true);
  const { code, output } = cci.execute(opcode, message.slice(MESSAGE_HEADER));
  const reply = new Uint8Array(TUNNEL_HEADER + MESSAGE_HEADER + output.length);
  const view = viewOf(reply);
  view.setUint16(0, MESSAGE_HEADER + output.length, true);
  view.setUint8(4, CATEGORY.RESPONSE);
  view.setUint8(5, request.getUint8(1));
  view.setUint16(7, opcode, true);
  view.setUint16(9, output.length & 0xffff, true);
  view.setUint8(11, output.length >> 16);
  view.setUint16(12, code, true);
  reply.set(output, TUNNEL_HEADER + MESSAGE_HEADER);
  return reply;
};
