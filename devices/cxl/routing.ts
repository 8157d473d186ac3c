import type { Activity } from '../core/activity.js';
import type { PciBus } from '../pci/bus.js';
import type { PciFunction } from '../pci/function.js';
import type { Dpa, Hpa } from './addresses.js';
import type { ComponentRegisters } from './component-registers.js';
import type { Decoder, HdmDecoders } from './hdm-decoders.js';
import { CXL_MEMORY_TARGET, type CxlMemoryTarget, type MemoryFault } from './memory-target.js';
import { CXL_SWITCH, findPort, portsOn, type CxlPort } from './ports.js';

/** What routing needs of a host bridge. */
export interface CxlHostBridge {
  /** QOM path of its device. */
  readonly path: string;
  readonly component: ComponentRegisters;
  /** Whether its device may act. */
  readonly activity: Activity;
  /** The bus of its root ports. */
  readonly bus: PciBus;
  /** One port and no decoders: everything goes there. */
  readonly passThrough: boolean;
}

/** What a route was found by; each is replaced, never changed, when something on the way changes. */
export interface Grounds {
  readonly buses: readonly (readonly [PciBus, readonly PciFunction[]])[];
  readonly decoders: readonly (readonly [HdmDecoders, readonly Decoder[]])[];
}

/** Where an address leads. */
export interface Route {
  readonly target: CxlMemoryTarget;
  readonly address: Dpa;
  /** Bytes from there on that lie together on this target. */
  readonly run: bigint;
  readonly grounds: Grounds;
}

/** True while nothing on the way has come, gone or been programmed since the route was found. */
export const stillHolds = ({ buses, decoders }: Grounds): boolean => {
  for (const [bus, functions] of buses) if (bus.functions !== functions) return false;
  for (const [hdm, settings] of decoders) if (hdm.settings !== settings) return false;
  return true;
};

const groundsOf = (buses: readonly PciBus[], decoders: readonly HdmDecoders[]): Grounds => ({
  buses: buses.map((bus) => [bus, bus.functions] as const),
  decoders: decoders.map((hdm) => [hdm, hdm.settings] as const),
});

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
  const { bus, component, passThrough } = bridge;
  const first = passThrough ? (portsOn(bus)[0] ?? 'no-route') : choosePort(bus, component, address);
  if (typeof first === 'string') return first;
  const above = passThrough ? [] : [component.requiredDecoders];
  const device = first.bus.function(0);
  const own = device?.offers.get(CXL_MEMORY_TARGET);
  if (own !== undefined) return arrive(own, address, { buses: [bus, first.bus], above });
  const below = device?.offers.get(CXL_SWITCH);
  if (below === undefined) return 'no-route';
  const port = choosePort(below.bus, below.component, address);
  if (typeof port === 'string') return port;
  const target = port.bus.function(0)?.offers.get(CXL_MEMORY_TARGET);
  if (target === undefined) return 'no-route';
  above.push(below.component.requiredDecoders);
  return arrive(target, address, { buses: [bus, first.bus, below.bus, port.bus], above });
};

/** @param way the buses passed, and the decoders above the device's own */
const arrive = (
  target: CxlMemoryTarget,
  address: Hpa,
  way: { readonly buses: readonly PciBus[]; readonly above: readonly HdmDecoders[] },
): Route | MemoryFault => {
  const own = target.component.requiredDecoders;
  const found = own.toDpa(address);
  if (typeof found === 'string') return found;
  const decoders = [...way.above, own];
  const run = decoders.map((hdm) => hdm.run(address)).reduce(smaller);
  return { target, address: found, run, grounds: groundsOf(way.buses, decoders) };
};
