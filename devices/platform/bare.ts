import { refused } from '../../schema/error.js';
import { AddressSpace } from '../core/address-space.js';
import type { DeviceState } from '../core/device.js';
import { MemoryRegion } from '../core/memory-region.js';
import { CxlHost } from '../cxl/host.js';
import type { PciFunction } from '../pci/function.js';
import { Interrupts } from './interrupts.js';
import { plainMemory } from './memory-map.js';
import { MessageReceiver } from './messages.js';
import type { Platform, PlatformOptions } from './platform.js';

/** The machine type none: RAM if it was asked for, no host bridge, no devices. */
export class Bare implements Platform {
  readonly kind = 'none';
  readonly canonicalName = 'none';
  readonly memory: AddressSpace;
  readonly io = new AddressSpace(MemoryRegion.container('io', 0x1_0000n), 'ones');
  readonly hosts = [];
  readonly board = [];
  readonly roots = [];
  readonly cxl: CxlHost;
  readonly messages = new MessageReceiver();
  readonly interrupts = new Interrupts();
  readonly #options: PlatformOptions;

  constructor(options: PlatformOptions) {
    this.#options = options;
    this.memory = new AddressSpace(plainMemory(options), 'zeros');
    this.cxl = new CxlHost(this.memory.root, undefined, 0n);
  }

  addRoot(): void {
    throw refused('The machine has no PCI host');
  }
  removeRoot(): void {
    // There never is one.
  }
  nextBusName(prefix: string): string {
    return `${prefix}.0`;
  }
  claimChassisSlot(): () => void {
    throw refused('The machine has no PCI host');
  }
  remove(fn: PciFunction): void {
    this.#options.host.remove(fn);
  }
  adoptBus(): void {
    // No PCI, no buses.
  }
  dropBus(): void {
    // No PCI, no buses.
  }
  ready(): void {
    // Nothing to number.
  }
  save(): DeviceState {
    return {};
  }
  load(): void {
    // Nothing to load.
  }
  reset(): void {
    // Nothing to reset.
  }
  guestEject(): void {
    throw refused('The machine has no PCI host');
  }
  bsel(): undefined {
    return undefined;
  }
  findFunction(): undefined {
    return undefined;
  }
}
