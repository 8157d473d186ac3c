import { EXPRESS } from '../../pci/capabilities.js';
import type { PciFunction } from '../../pci/function.js';
import { CAPABILITY } from '../../pci/registers.js';
import { viewOf } from '../bytes.js';
import type { Cci, CciCommand } from '../cci.js';
import { CXL_MEMORY_TARGET } from '../memory-target.js';
import { portsOn, type CxlSwitch } from '../ports.js';
import { RETURN_CODE } from '../return-code.js';

/** Identify Switch Device. CXL 3.1 §7.6.7.1.1 */
const IDENTITY = {
  SIZE: 0x49,
  INGRESS_PORT: 0,
  PORTS: 2,
  VIRTUAL_SWITCHES: 3,
  ACTIVE_PORTS: 4,
  ACTIVE_SWITCHES: 36,
  BRIDGES: 68,
  BOUND_BRIDGES: 70,
  DECODERS: 72,
} as const;

/** One port of Get Physical Port State. §7.6.7.1.2 */
const PORT = {
  SIZE: 16,
  NUMBER: 0,
  STATE: 1,
  CONNECTED_VERSION: 2,
  CONNECTED_TYPE: 4,
  VERSIONS: 5,
  MAX_WIDTH: 6,
  WIDTH: 7,
  SPEEDS: 8,
  MAX_SPEED: 9,
  SPEED: 10,
  LTSSM: 11,
  LOGICAL_DEVICES: 15,
} as const;
const STATE = { DOWNSTREAM: 3, UPSTREAM: 4 } as const;
const CONNECTED = { NONE: 0, PCIE: 1, TYPE_3: 5 } as const;
const CXL_2 = 2;
const LTSSM_L2 = 7;
const HEADER = 4;
/** Logical devices that a downstream port supports. */
const LOGICAL_DEVICES = 3;

/** A port of a switch as the fabric manager numbers it. */
interface PhysicalPort {
  readonly number: number;
  readonly pci: PciFunction;
  readonly state: number;
  readonly connected: number;
}

const portNumber = (fn: PciFunction): number => {
  const at = fn.config.findCapability(CAPABILITY.EXPRESS) ?? 0;
  return fn.config.get(at + EXPRESS.LINK_CAPABILITIES + 3, 1);
};

const upstreamPort = ({ pci }: CxlSwitch): PhysicalPort => ({
  number: portNumber(pci),
  pci,
  state: STATE.UPSTREAM,
  connected: CONNECTED.NONE,
});

const downstreamPorts = ({ bus: ports }: CxlSwitch): PhysicalPort[] =>
  portsOn(ports).map(({ pci, number, bus }) => {
    const device = bus.function(0);
    const isMemory = device?.offers.get(CXL_MEMORY_TARGET) !== undefined;
    const some = isMemory ? CONNECTED.TYPE_3 : CONNECTED.PCIE;
    const connected = device === undefined ? CONNECTED.NONE : some;
    return { number, pci, state: STATE.DOWNSTREAM, connected };
  });

const identify = (target: CxlSwitch): Uint8Array => {
  const upstream = upstreamPort(target);
  const ports = [upstream, ...downstreamPorts(target)];
  const output = new Uint8Array(IDENTITY.SIZE);
  const view = viewOf(output);
  view.setUint8(IDENTITY.INGRESS_PORT, upstream.number);
  view.setUint8(IDENTITY.PORTS, ports.length);
  view.setUint8(IDENTITY.VIRTUAL_SWITCHES, 1);
  for (const { number } of ports) {
    const at = IDENTITY.ACTIVE_PORTS + (number >> 3);
    view.setUint8(at, view.getUint8(at) | (1 << (number & 7)));
  }
  view.setUint8(IDENTITY.ACTIVE_SWITCHES, 1);
  view.setUint16(IDENTITY.BRIDGES, ports.length, true);
  view.setUint16(IDENTITY.BOUND_BRIDGES, ports.length, true);
  view.setUint8(IDENTITY.DECODERS, target.component.requiredDecoders.count);
  return output;
};

const describe = ({ number, pci, state, connected }: PhysicalPort, into: DataView): void => {
  const { config } = pci;
  const at = config.findCapability(CAPABILITY.EXPRESS) ?? 0;
  const most = config.get(at + EXPRESS.LINK_CAPABILITIES, 2);
  const now = config.get(at + EXPRESS.LINK_STATUS, 2);
  into.setUint8(PORT.NUMBER, number);
  into.setUint8(PORT.STATE, state);
  into.setUint8(PORT.CONNECTED_VERSION, CXL_2);
  into.setUint8(PORT.CONNECTED_TYPE, connected);
  into.setUint8(PORT.VERSIONS, CXL_2);
  into.setUint8(PORT.MAX_WIDTH, (most >> 4) & 0x3f);
  into.setUint8(PORT.WIDTH, (now >> 4) & 0x3f);
  into.setUint8(PORT.SPEEDS, (config.get(at + EXPRESS.LINK_CAPABILITIES_2, 1) & 0xfe) >> 1);
  into.setUint8(PORT.MAX_SPEED, most & 0xf);
  into.setUint8(PORT.SPEED, now & 0xf);
  into.setUint8(PORT.LTSSM, LTSSM_L2);
  into.setUint8(PORT.LOGICAL_DEVICES, state === STATE.DOWNSTREAM ? LOGICAL_DEVICES : 0);
};

/** 5100h Identify Switch Device and 5101h Get Physical Port State. reference/cxl.md §5.8 */
export const physicalSwitchCommands = (cci: Cci, target: CxlSwitch): CciCommand[] => [
  { opcode: 0x5100, inputLength: 0, effects: 0, run: () => identify(target) },
  {
    opcode: 0x5101,
    inputLength: undefined,
    effects: 0,
    run: ([count, ...numbers]) => {
      if (count !== numbers.length) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
      const output = new Uint8Array(HEADER + PORT.SIZE * count);
      if (output.length > cci.payloadSize) return RETURN_CODE.INVALID_INPUT;
      const ports = [upstreamPort(target), ...downstreamPorts(target)];
      output[0] = count;
      for (const [i, number] of numbers.entries()) {
        const port = ports.find((one) => one.number === number);
        if (port === undefined) return RETURN_CODE.INVALID_INPUT;
        describe(port, viewOf(output.subarray(HEADER + PORT.SIZE * i)));
      }
      return output;
    },
  },
];
