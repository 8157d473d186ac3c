import type { PciBus } from '../pci/bus.js';
import type { Dpa, Hpa } from './addresses.js';
import type { ComponentRegisters } from './component-registers.js';
import { CXL_MEMORY_TARGET, type CxlMemoryTarget, type MemoryFault } from './memory-target.js';
import { CXL_SWITCH, findPort, portsOn, type CxlPort } from './ports.js';

/** What routing needs of a host bridge. */
export interface CxlHostBridge {
  /** QOM path of its device. */
  readonly path: string;
  readonly component: ComponentRegisters;
  /** The bus of its root ports. */
  readonly bus: PciBus;
  /** One port and no decoders: everything goes there. */
  readonly passThrough: boolean;
}

/** Where an address leads. */
export interface Route {
  readonly target: CxlMemoryTarget;
  readonly address: Dpa;
  /** Bytes from there on that lie together on this target. */
  readonly run: bigint;
}

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** The port below a router that `address` passes, by the router's decoders. */
const choosePort = (
  bus: PciBus,
  component: ComponentRegisters,
  address: Hpa,
): CxlPort | MemoryFault => {
  const number = component.requiredDecoders.toPort(address);
  if (typeof number === 'string') return number;
  return findPort(bus, number) ?? 'no-route';
};

/**
 * Follows an address from a host bridge through a root port, and through a switch if one is there,
 * to a memory device and its address in it.
 *
 * @see reference/cxl.md §3.3
 */
export const route = (bridge: CxlHostBridge, address: Hpa): Route | MemoryFault => {
  const rootPort = bridge.passThrough
    ? (portsOn(bridge.bus)[0] ?? 'no-route')
    : choosePort(bridge.bus, bridge.component, address);
  if (typeof rootPort === 'string') return rootPort;
  const run = bridge.passThrough ? undefined : bridge.component.requiredDecoders.run(address);
  const device = rootPort.bus.function(0);
  const own = device?.offers.get(CXL_MEMORY_TARGET);
  if (own !== undefined) return arrive(own, address, run);
  const below = device?.offers.get(CXL_SWITCH);
  if (below === undefined) return 'no-route';
  const port = choosePort(below.bus, below.component, address);
  if (typeof port === 'string') return port;
  const target = port.bus.function(0)?.offers.get(CXL_MEMORY_TARGET);
  if (target === undefined) return 'no-route';
  const switchRun = below.component.requiredDecoders.run(address);
  return arrive(target, address, run === undefined ? switchRun : smaller(run, switchRun));
};

const arrive = (
  target: CxlMemoryTarget,
  address: Hpa,
  run: bigint | undefined,
): Route | MemoryFault => {
  const decoders = target.component.requiredDecoders;
  const found = decoders.toDpa(address);
  if (typeof found === 'string') return found;
  const own = decoders.run(address);
  return { target, address: found, run: run === undefined ? own : smaller(run, own) };
};
