import type { DeviceState, Log, ResetType } from '../core/device.js';
import { PciFunction, type BarKind, type PciDevice, type PciIdentity } from '../pci/function.js';
import { CONFIG } from '../pci/registers.js';
import { hollow } from './memory-map.js';

/** A function of the board that exists for its identity and its place: no model behind it. */
export interface BoardFunctionSpec {
  readonly typeName: string;
  readonly devfn: number;
  readonly path: 'unattached' | `host/${string}`;
  readonly identity: PciIdentity;
  readonly multifunction?: boolean;
  /** Read-only bits of the status register. */
  readonly status?: number;
  readonly bars?: readonly { index: number; size: bigint; kind: BarKind }[];
  readonly capabilities?: (fn: PciFunction) => void;
  /** Bytes outside the header and the capabilities, by offset, as reset leaves them. */
  readonly reset?: Readonly<Record<number, number>>;
  /** True when a guest may eject it. */
  readonly removable?: boolean;
}

export class BoardFunction implements PciDevice {
  readonly pci: PciFunction;
  readonly spec: BoardFunctionSpec;
  /** Told after every reset. */
  onReset: (() => void) | undefined;

  constructor(spec: BoardFunctionSpec, log: Log) {
    this.spec = spec;
    const { typeName, identity } = spec;
    this.pci = new PciFunction({
      typeName,
      id: undefined,
      identity,
      log,
      resetDevice: (type) => this.reset(type),
    });
    this.pci.multifunction = spec.multifunction ?? false;
    if (spec.status !== undefined) this.pci.config.set(CONFIG.STATUS, 2, spec.status);
    for (const { index, size, kind } of spec.bars ?? [])
      this.pci.registerBar(index, hollow(`${typeName} BAR ${String(index)}`, size), kind);
    spec.capabilities?.(this.pci);
    this.#preset();
  }

  realize(): void {
    // Complete since construction.
  }
  unrealize(): void {
    this.pci.close();
  }
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#preset();
    this.onReset?.();
  }
  save(): DeviceState {
    return this.pci.save();
  }
  load(state: DeviceState): void {
    this.pci.load(state);
  }

  #preset(): void {
    for (const [offset, value] of Object.entries(this.spec.reset ?? {}))
      this.pci.config.set(Number(offset), 1, value);
  }
}
