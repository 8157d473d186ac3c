import type { JsonValue } from '../../schema/json.js';
import type { EventData, EventDef } from '../../schema/lang.js';
import type { PlatformServices } from '../platform/platform.js';
import type { Activity } from './activity.js';
import type { CharDevices } from './char-device.js';
import type { Clock } from './clock.js';
import type { EventNotifiers } from './event-notifier.js';
import type { Handover } from './handover.js';
import type { StateControl } from '../state/control.js';
import type { HostMemoryService } from './host-memory.js';
import type { HostTimer } from './host-timer.js';
import type { OwnMemories } from './own-memory.js';
import type { Properties, PropertyValues } from './property.js';
import type { SharedObjects } from './shared-object.js';

/** A property that follows the state of the device, and may be set after it was realized. */
export interface LiveProperty {
  get(): JsonValue;
  /** @throws QmpError with the property's own rule */
  set(value: JsonValue): void;
}

/** `cold` is power-on, `warm` a system reset or a bus reset. */
export type ResetType = 'cold' | 'warm';

/** Plain saved state: numbers, texts, bytes, nested. The byte format is somebody else's business. */
export type StateValue =
  bigint | number | string | boolean | Uint8Array | StateValue[] | { [field: string]: StateValue };
export interface DeviceState {
  [field: string]: StateValue;
}

/** A device's configuration as bytes. */
export interface StateImage {
  save(): Uint8Array;
  /** @throws QmpError, with nothing changed, when the bytes are not of such a device */
  load(bytes: Uint8Array): void;
  /** Bytes, where there are always as many. */
  readonly capacity?: number;
  /** Capabilities of the device state beyond which the device has none. */
  readonly capabilities?: number;
}

/**
 * A device model. `realize` once, `reset` any number of times, `unrealize` once; `unrealize` is the
 * exact reverse of `realize`, and a `realize` that throws leaves nothing behind.
 */
export interface Device {
  /** @throws QmpError when a property or the host refuses */
  realize(): void | Promise<void>;
  unrealize(): void | Promise<void>;
  reset(type: ResetType): void;
  /** What the device chose for a property that left the choice to it, as `qom-get` answers. */
  settled?(property: string): JsonValue | undefined;
  /** Everything needed to go on elsewhere, without the bytes of host memory. */
  save(): DeviceState;
  /** @throws QmpError and changes nothing when the state does not fit this device */
  load(state: DeviceState): void;
  /** The configuration as bytes of its own, for a device whose regions show no checked format. */
  readonly stateImage?: StateImage;
  /** Present when the two ends of a migration share something that only one may have. */
  readonly handover?: Handover | undefined;
  /** By name; other properties answer what they were set to. */
  readonly liveProperties?: Readonly<Record<string, LiveProperty>>;
}

/** Structured log of one device; object first, constant message second. */
export interface Log {
  trace(data: object, message: string): void;
  debug(data: object, message: string): void;
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
  error(data: object, message: string): void;
}

/** What a device needs of the outside; injected, never imported (design §6.6). */
export interface DeviceContext {
  /** The user's id; undefined for anonymous devices. */
  readonly id: string | undefined;
  /** Canonical QOM path. */
  readonly path: string;
  /** Type name under which the device was created. */
  readonly typeName: string;
  readonly log: Log;
  /** The machine's virtual clock; it stands still for a device that is stopped. */
  readonly clock: Clock;
  /** Whether the device may act. */
  readonly activity: Activity;
  /** Where the device's own memory is told. */
  readonly memories: OwnMemories;
  readonly hostMemory: HostMemoryService;
  /** For time-outs only. */
  readonly hostTimer: HostTimer;
  readonly eventNotifiers: EventNotifiers;
  readonly chardevs: CharDevices;
  readonly sharedObjects: SharedObjects;
  /** For bridges and expanders; undefined where there is no PCI. */
  readonly platform?: PlatformServices;
  /**
   * The state of another device, by id or path.
   *
   * @throws QmpError when there is none, or it is that of this device or of another vfio-state
   */
  stateTarget(name: string): StateControl;
  /** Whether the machine waits for a migration to come in. */
  awaitsMigration(): boolean;
  /** Keeps the machine from being migrated, for `reason`; returns the end of that. */
  blockMigration(reason: string): () => void;
  /**
   * Something waits for the driver in a guest. Where the guest policy lets the built-in driver
   * answer, it looks once the reply to the running command is out.
   */
  wakeDriver(): void;
  /**
   * Asks the guest for something that needs no driver of the device's own: `answer` runs once the
   * reply of the running command is out, if the machine's guest-policy is `accept`.
   */
  askGuest(answer: () => void): void;
  emit<E extends EventDef>(event: E, data: EventData<E>): void;
}

/** Headings of `-device help`, in QEMU's order. */
export type DeviceCategory = 'bridge' | 'storage' | 'input' | 'misc' | 'uncategorized';

/** A device type: all that the machine needs to know about a model. */
export interface DeviceType<P extends Properties = Properties> {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** QOM parent type. */
  readonly parent: string;
  readonly description?: string;
  /** Default `misc`. */
  readonly category?: DeviceCategory;
  /** `pci`: conventional; `express`: PCI Express; `hybrid`: either, by the bus. */
  readonly interfaces: readonly ('conventional-pci-device' | 'pci-express-device' | 'cxl-device')[];
  readonly abstract?: boolean;
  /** False for parts of a board that users cannot add. Default true. */
  readonly userCreatable?: boolean;
  /** Where devices of this type sit when it is no bus. */
  readonly place?: 'memory-slot' | 'isa';
  /** False when the type can only be cold-plugged. Default true. */
  readonly hotpluggable?: boolean;
  /** Version of what `save` gives; raised when an older `load` would not take it. Default 1. */
  readonly stateVersion?: number;
  /** Properties that may have other values at the destination of a migration. */
  readonly mayDiffer?: readonly string[];
  readonly properties: P;
  create(context: DeviceContext, properties: PropertyValues<P>): Device;
}

/** Checks a device type's own consistency at compile time and hands it on. */
export const deviceType = <const P extends Properties>(type: DeviceType<P>): DeviceType<P> => type;
