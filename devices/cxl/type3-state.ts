import type { DeviceState, StateValue } from '../core/device.js';
import { fields, flag, part } from '../core/saved-state.js';
import type { Clock } from '../core/clock.js';
import type { HostMemory } from '../core/host-memory.js';
import { AlertThresholds } from './alert-thresholds.js';
import { CapacityManager } from './capacity-manager.js';
import type { CapacityOwnership } from './capacity-ownership.js';
import { Cci, type CciCommand } from './cci.js';
import { dcdManagementCommands } from './commands/dcd-management.js';
import { dcdTagCommands } from './commands/dcd-tags.js';
import { dynamicCapacityCommands } from './commands/dynamic-capacity.js';
import { eventCommands } from './commands/events.js';
import { featureCommands } from './commands/features.js';
import { firmwareCommands } from './commands/firmware.js';
import { alertCommands } from './commands/health.js';
import {
  abortCommand,
  identifyCommand,
  responseLimitCommands,
  type ComponentIdentity,
} from './commands/information.js';
import { logCommands } from './commands/logs.js';
import { identityCommands, labelCommands } from './commands/memory-device.js';
import { poisonCommands, scanCommands } from './commands/poison.js';
import { mediaOperationsCommand, sanitizeCommand } from './commands/sanitize.js';
import { securityCommands } from './commands/security.js';
import { timestampCommands } from './commands/timestamp.js';
import { tunnelCommand } from './commands/tunnel.js';
import { DeviceTime } from './device-time.js';
import { DynamicCapacity, type CapacityReports } from './dynamic-capacity.js';
import { EventLogs } from './event-logs.js';
import { Features } from './features.js';
import { Firmware } from './firmware.js';
import { MAILBOX_PAYLOAD_SIZE } from './mailbox.js';
import type { Media } from './media.js';
import { MediaScan } from './media-scan.js';
import { PoisonList } from './poison-list.js';
import { makeRegions } from './regions.js';

/** Payload of command interfaces that are reached by tunnel. reference/cxl.md §5.2 */
const TUNNEL_PAYLOAD = 512;
const SCAN_OPCODE = 0x4304;
const MEDIA_READY = 0x14n;
const MEDIA_DISABLED = 0x1cn;

export interface Type3StateOptions {
  readonly clock: Clock;
  /** Whether the device may not act; default never. */
  readonly stopped?: () => boolean;
  readonly media: Media;
  readonly labels: HostMemory | undefined;
  readonly regionCount: number;
  readonly ownership: CapacityOwnership;
  readonly reports: CapacityReports;
  readonly identity: () => ComponentIdentity;
  /** Records of dynamic capacity wait for the host. */
  readonly wakeDriver: () => void;
  /** Raises an MSI-X vector. */
  readonly notify: (vector: number) => void;
  /** A background operation of the host's mailbox has ended. */
  readonly backgroundFinished: () => void;
  /** Commands besides those of every type 3 device. */
  readonly extraCommands?: {
    readonly host?: readonly CciCommand[];
    readonly fabric?: readonly CciCommand[];
  };
}

/**
 * All of a memory device but its PCI function: what its mailbox reports and changes, and the
 * command interfaces of the host and of the fabric manager.
 *
 * @see reference/cxl.md §5
 */
export class Type3State {
  readonly media: Media;
  readonly labels: HostMemory | undefined;
  readonly time: DeviceTime;
  readonly logs: EventLogs;
  readonly poison = new PoisonList();
  /** Undefined without dynamic capacity regions. */
  readonly manager: CapacityManager | undefined;
  /** The host's mailbox. */
  readonly host: Cci;
  /** The FM-owned LD, reached by tunnel. */
  readonly fabric: Cci;
  /** LD 0 behind the FM-owned LD. */
  readonly logicalDevice: Cci;
  readonly #firmware: Firmware;
  readonly #features = new Features();
  readonly #alerts = new AlertThresholds();
  readonly #scan: MediaScan;
  #mediaDisabled = false;

  constructor(options: Type3StateOptions) {
    const { clock, media, labels, regionCount, stopped } = options;
    this.media = media;
    this.labels = labels;
    this.time = new DeviceTime(clock);
    this.logs = new EventLogs({ timestamp: () => this.time.now(), notify: options.notify });
    this.#firmware = new Firmware(clock);
    this.manager = regionCount === 0 ? undefined : this.#createManager(options);
    this.host = new Cci({
      ...{ clock, stopped },
      payloadSize: MAILBOX_PAYLOAD_SIZE,
      mediaDisabled: () => this.#mediaDisabled,
      backgroundFinished: options.backgroundFinished,
    });
    this.fabric = new Cci({ clock, stopped, payloadSize: TUNNEL_PAYLOAD });
    this.logicalDevice = new Cci({ clock, stopped, payloadSize: TUNNEL_PAYLOAD });
    const { background } = this.host;
    const scanning = (): boolean => background.running && background.opcode === SCAN_OPCODE;
    this.#scan = new MediaScan(this.poison, scanning);
    this.#addHostCommands(options);
    this.#addFabricCommands(options);
  }

  #createManager(options: Type3StateOptions): CapacityManager {
    const { media, regionCount, ownership, reports } = options;
    const areas = [media.memory.volatile, media.memory.persistent];
    const regions = makeRegions({
      base: media.staticSize,
      size: media.dynamicSize,
      count: regionCount,
      firstHandle: areas.filter((area) => area !== undefined).length,
    });
    const capacity = new DynamicCapacity({
      ...{ regions, ownership, reports },
      erase: (range) => media.fill(range, 0),
    });
    return new CapacityManager(capacity, this.logs, options.wakeDriver);
  }

  #addHostCommands({ extraCommands }: Type3StateOptions): void {
    const { host, logs, media, labels, time, poison } = this;
    const capacity = this.manager?.capacity;
    const scan = this.#scan;
    const payloadSize = (): number => host.payloadSize;
    const poisonParts = { poison, media, capacity, time, scan, payloadSize };
    const setDisabled = (disabled: boolean): void => void (this.#mediaDisabled = disabled);
    const sanitizeParts = { media, labels, capacity, logs, setDisabled };
    host.add([abortCommand(host), ...eventCommands(host, logs)]);
    host.add([...firmwareCommands(this.#firmware), ...timestampCommands(time)]);
    host.add([...logCommands(host), ...featureCommands(host, this.#features)]);
    host.add([...identityCommands({ cci: host, media, labels })]);
    host.add([...labelCommands({ cci: host, media, labels }), ...alertCommands(this.#alerts)]);
    host.add([...poisonCommands(poisonParts), ...scanCommands(poisonParts)]);
    host.add([sanitizeCommand(sanitizeParts), mediaOperationsCommand(sanitizeParts)]);
    host.add(securityCommands());
    if (capacity !== undefined) host.add(dynamicCapacityCommands(host, capacity));
    host.add(extraCommands?.host ?? []);
  }

  #addFabricCommands({ identity, extraCommands }: Type3StateOptions): void {
    const { fabric, logicalDevice, time, manager } = this;
    fabric.add([identifyCommand(fabric, identity), ...responseLimitCommands(fabric)]);
    fabric.add([...timestampCommands(time).slice(0, 1), ...logCommands(fabric)]);
    fabric.add([tunnelCommand((id) => (id === 0 ? logicalDevice : undefined))]);
    if (manager !== undefined) {
      fabric.add(dcdManagementCommands(fabric, manager));
      fabric.add(dcdTagCommands(fabric, manager.capacity));
    }
    fabric.add(extraCommands?.fabric ?? []);
    logicalDevice.add([identifyCommand(logicalDevice, identity), ...logCommands(logicalDevice)]);
  }

  get mediaDisabled(): boolean {
    return this.#mediaDisabled;
  }
  /** Memory device status register. reference/cxl.md §4.2 */
  get memoryStatus(): bigint {
    return this.#mediaDisabled ? MEDIA_DISABLED : MEDIA_READY;
  }

  /** Accepted extents, static data, poison and records stay; offers are dropped with theirs. */
  reset(): void {
    this.manager?.capacity.dropPending();
    this.logs.forgetGroups();
    for (const cci of [this.host, this.fabric, this.logicalDevice]) cci.reset();
    this.#firmware.reset();
    this.#features.reset();
    this.#scan.reset();
    this.#mediaDisabled = false;
  }
  /** Gives the capacity back; the end of the device. */
  close(): void {
    this.manager?.capacity.abandon();
    for (const cci of [this.host, this.fabric, this.logicalDevice]) cci.reset();
  }

  #parts(): readonly (readonly [string, SavedPart])[] {
    return [
      ['time', this.time],
      ['logs', this.logs],
      ['poison', this.poison],
      ['host', this.host],
      ['fabric', this.fabric],
      ['logicalDevice', this.logicalDevice],
      ['firmware', this.#firmware],
      ['features', this.#features],
      ['alerts', this.#alerts],
      ['scan', this.#scan],
      ...(this.manager === undefined ? [] : [['capacity', this.manager.capacity] as const]),
    ];
  }
  save(): DeviceState {
    const parts = this.#parts().map(([name, part]) => [name, part.save()] as const);
    return { parts: Object.fromEntries(parts), mediaDisabled: this.#mediaDisabled };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const parts = this.#parts();
    const readers = Object.fromEntries(parts.map(([name]) => [name, part]));
    const saved = fields({ mediaDisabled: flag, parts: fields(readers) })(
      state,
      'saved memory device',
    );
    const apply = parts.map(([name, one]) => one.prepareLoad(saved.parts[name]));
    return () => {
      for (const run of apply) run();
      this.#mediaDisabled = saved.mediaDisabled;
    };
  }
}

interface SavedPart {
  save(): StateValue;
  prepareLoad(state: StateValue | undefined): () => void;
}
