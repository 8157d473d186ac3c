import { Offer } from '../pci/offers.js';
import type { PciBus } from '../pci/bus.js';
import type { PciFunction } from '../pci/function.js';
import { PORT_TYPE } from '../pci/registers.js';
import type { ComponentRegisters } from './component-registers.js';

/** What routing needs of a root port or of a downstream port of a switch. */
export interface CxlPort {
  readonly pci: PciFunction;
  /** The number by which target lists name it (property `port`). */
  readonly number: number;
  readonly bus: PciBus;
}
export const CXL_PORT = new Offer<CxlPort>('CXL port');

/** What routing needs of a switch: its upstream port. */
export interface CxlSwitch {
  readonly pci: PciFunction;
  readonly component: ComponentRegisters;
  /** Its downstream ports are here. */
  readonly bus: PciBus;
}
export const CXL_SWITCH = new Offer<CxlSwitch>('CXL switch');

/** The CXL ports on a bus, by devfn. */
export const portsOn = (bus: PciBus): readonly CxlPort[] =>
  bus.functions.flatMap((fn) => fn.offers.get(CXL_PORT) ?? []);

/** The port that a target list names; undefined when there is none. */
export const findPort = (bus: PciBus, number: number): CxlPort | undefined => {
  for (const fn of bus.functions) {
    const port = fn.offers.get(CXL_PORT);
    if (port?.number === number) return port;
  }
  return undefined;
};

/** Root and downstream ports on a bus, of whatever kind. */
export const countPorts = (bus: PciBus): number =>
  bus.functions.filter(({ portType }) => {
    return portType === PORT_TYPE.ROOT_PORT || portType === PORT_TYPE.DOWNSTREAM;
  }).length;
