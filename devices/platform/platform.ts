import type { AddressSpace } from '../core/address-space.js';
import type { Clock } from '../core/clock.js';
import type { DeviceState, Log } from '../core/device.js';
import type { HostMemory } from '../core/host-memory.js';
import type { CxlConfig, CxlHost } from '../cxl/host.js';
import type { IsaBus } from '../isa/bus.js';
import type { PciBus } from '../pci/bus.js';
import type { PciDevice, PciFunction } from '../pci/function.js';
import { Bare } from './bare.js';
import { Board } from './board.js';
import type { Interrupts } from './interrupts.js';
import type { MessageReceiver } from './messages.js';

/**
 * What a machine type brings along: host bridge and board devices, address spaces, interrupt
 * inputs, the receiver of messages, hotplug controllers.
 */

export type MachineKind = 'none' | 'pc' | 'q35';

/** What a platform needs of its machine. */
export interface PlatformHost {
  /**
   * The guest let go of this function: unrealize its device (for a bridge what is behind it first)
   * and announce it. Called once per function.
   */
  remove(fn: PciFunction): void;
  readonly clock: Clock;
  readonly log: Log;
  /** Value of `-global driver.property=value` for a part of the board. */
  global(driver: string, property: string): string | undefined;
}

/** A device that the board brings; the machine attaches it to the first host's bus, realizes and names it. */
export interface BoardDevice {
  readonly typeName: string;
  readonly device: PciDevice;
  readonly devfn: number;
  /** `unattached`: next /machine/unattached/device[N]; `host/mch`: below the host bridge's path. */
  readonly path: 'unattached' | `host/${string}`;
}

/** A host bridge of the board, at /machine/`qomName`. */
export interface HostBridge {
  readonly qomName: string;
  readonly typeName: string;
  readonly bus: PciBus;
}

/** The part of a platform that bridges and expanders use; reaches them as `DeviceContext.platform`. */
export interface PlatformServices {
  readonly memory: AddressSpace;
  /** All root buses, most recently created first. */
  readonly roots: readonly PciBus[];
  /** @param owner the expander that the root belongs to */
  addRoot(bus: PciBus, owner: PciFunction): void;
  removeRoot(bus: PciBus): void;
  /** Name of the next anonymous bus of a kind: `pcie.0`, `pcie.1`, ... */
  nextBusName(prefix: string): string;
  /**
   * Reserves a (chassis, slot) pair.
   *
   * @returns the release
   * @throws QmpError GenericError `Can't add chassis slot, error -16` when it is taken
   */
  claimChassisSlot(chassis: number, slot: number): () => void;
  /** The guest let go of this function. */
  remove(fn: PciFunction): void;
  /** The board's ISA bus; undefined where there is none. */
  readonly isa?: IsaBus;
  /** Where CXL host bridges announce themselves, whether the machine has CXL or not. */
  readonly cxl: CxlHost;
}

export interface Platform extends PlatformServices {
  readonly kind: MachineKind;
  /** Versioned machine type name. */
  readonly canonicalName: string;
  /** The guest's view of memory and ports. */
  readonly io: AddressSpace;
  readonly hosts: readonly HostBridge[];
  /** In the order in which the machine attaches, realizes and names them. */
  readonly board: readonly BoardDevice[];
  readonly messages: MessageReceiver;
  readonly interrupts: Interrupts;
  /** Call for each bus that appears behind a bridge: installs the right hotplug controller. */
  adoptBus(bus: PciBus, bridge: PciDevice, hotplugged: boolean): void;
  dropBus(bus: PciBus): void;
  /**
   * Cold-plug is over: connects the CXL windows, numbers the hot-pluggable buses
   * (`acpi-pcihp-bsel`).
   *
   * @throws QmpError when the CXL parts do not fit together
   */
  ready(): void;
  /** What software sees of the platform itself: latches of its ports, requests for removal. */
  save(): DeviceState;
  /** @throws QmpError, with nothing changed, when the state does not fit */
  load(state: DeviceState): void;
  /** System reset of the platform's own parts, after the devices; performs pending ACPI ejects. */
  reset(): void;
  /**
   * Acts as the guest's hotplug driver, by port and configuration accesses only: lets go of the
   * slot of `fn`. With `pending` false also when no unplug was requested.
   *
   * @throws QmpError GenericError when no unplug is pending or the bus has no controller
   */
  guestEject(fn: PciFunction, pending?: boolean): void;
  /** ACPI number of a hot-pluggable bus, as the bus property `acpi-pcihp-bsel`. */
  bsel(bus: PciBus): number | undefined;
  /** The function that answers configuration cycles for this address. */
  findFunction(busNumber: number, devfn: number): PciFunction | undefined;
}

export interface PlatformOptions {
  readonly ramSize: bigint;
  /** Guest memory, mapped on first access. */
  readonly ram: () => HostMemory;
  /** Adds VGA and network card, as without -nodefaults. */
  readonly defaults: boolean;
  /** `cxl=on`; undefined: the machine has no CXL. */
  readonly cxl?: CxlConfig | undefined;
  /** Where the room for memory modules ends, if there is any. */
  readonly modulesEnd?: bigint | undefined;
  readonly host: PlatformHost;
}

/** Builds what a machine type brings along. Touches no host memory until the guest side does. */
export const createPlatform = (kind: MachineKind, options: PlatformOptions): Platform =>
  kind === 'none' ? new Bare(options) : new Board(kind, options);
