import type { DeviceContext, ResetType } from '../core/device.js';
import { BridgeWindows } from '../pci/bridge-windows.js';
import { PciBus, type PciBusTypeName } from '../pci/bus.js';
import { addPcieCapability, EXPRESS, SLOT, type SlotOptions } from '../pci/capabilities.js';
import { ERROR_RECEIVER } from '../pci/error-message.js';
import { PciFunction } from '../pci/function.js';
import { Msi } from '../pci/msi.js';
import { PcieSlot } from '../pci/pcie-slot.js';
import type { PortType } from '../pci/registers.js';
import { ComponentRegisters, type ComponentKind } from './component-registers.js';

export interface PortFunctionOptions {
  readonly kind: ComponentKind;
  readonly identity: {
    readonly vendorId: number;
    readonly deviceId: number;
    readonly interruptPin?: number;
  };
  /** Type of the bus behind the port, and the start of its name when the port has no id. */
  readonly bus: { readonly typeName: PciBusTypeName; readonly prefix: string };
  /** As QEMU's switch ports: the windows start at address 0 instead of closed. */
  readonly windowsStartOpen: boolean;
  resetDevice(type: ResetType): void;
}

/** A function with a CXL port's header, the bus behind it and its component registers in BAR 0. */
export class PortFunction {
  readonly pci: PciFunction;
  readonly bus: PciBus;
  readonly component: ComponentRegisters;
  readonly #context: DeviceContext;
  /** Offset of the PCI Express capability. */
  #express = 0;
  #msi: Msi | undefined;

  constructor(context: DeviceContext, options: PortFunctionOptions) {
    this.#context = context;
    const { kind, identity, bus, windowsStartOpen } = options;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: { ...identity, revision: 0, classCode: 0x0604, express: true, header: 'bridge' },
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => options.resetDevice(type),
    });
    const windows = new BridgeWindows(this.pci, { express: true, startsOpen: windowsStartOpen });
    this.bus = new PciBus({
      name: context.id ?? context.platform?.nextBusName(bus.prefix) ?? `${bus.prefix}.0`,
      typeName: bus.typeName,
      express: true,
      memory: windows.memory,
      io: windows.io,
      bridge: this.pci,
    });
    this.component = new ComponentRegisters({ kind });
    this.pci.addPart('component-registers', this.component);
    this.pci.registerBar(0, this.component.region, { type: 'memory', bits64: true });
  }

  addMsi(options: { at: number; vectors: number; bits64: boolean }): void {
    this.#msi = new Msi(this.pci, { ...options, mask: true });
  }

  /** @param hideHotplug the slot does not tell software that it can hotplug */
  addExpress(options: {
    type: PortType;
    at: number;
    port: number;
    functionReset?: boolean;
    link: { readonly speed: number; readonly width: number };
    slot?: SlotOptions;
    hideHotplug?: boolean;
  }): void {
    const { at, hideHotplug = false } = options;
    this.#express = addPcieCapability(this.pci, options);
    if (!hideHotplug) return;
    const register = at + EXPRESS.SLOT_CAPABILITIES;
    this.pci.config.set(register, 4, this.pci.config.get(register, 4) & ~SLOT.HOTPLUG);
  }

  /** Adds the slot behind the port; to be called after `addExpress`. */
  addSlot({ hotplug, powerController }: SlotOptions): PcieSlot {
    const { clock, platform } = this.#context;
    const slot = new PcieSlot({
      port: this.pci,
      capability: this.#express,
      bus: this.bus,
      id: this.pci.id ?? '',
      clock,
      hotplug,
      powerController,
      remove: (fn) => platform?.remove(fn),
      interrupt: (level) => this.interrupt(level, 0),
    });
    this.bus.hotplug = slot;
    return slot;
  }

  /** Interrupts when error messages arrive, by `vector`; only where software enabled messages. */
  receiveErrors(vector: number): void {
    this.pci.offers.set(ERROR_RECEIVER, { interrupt: () => this.#msi?.notify(vector) });
  }

  /** Tells software: by a message where it enabled them, else by the interrupt line. */
  interrupt(level: boolean, vector: number): void {
    if (this.#msi?.enabled !== true) this.pci.setInterrupt(level);
    else if (level) this.#msi.notify(vector);
  }
}
