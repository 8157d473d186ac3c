import { availableParallelism } from 'node:os';
import { Activity, DeviceClock } from '../../devices/core/activity.js';
import type { DeviceContext, DeviceType, ResetType } from '../../devices/core/device.js';
import type { EventNotifiers } from '../../devices/core/event-notifier.js';
import type { HostMemoryService } from '../../devices/core/host-memory.js';
import { OwnMemories } from '../../devices/core/own-memory.js';
import type { CxlConfig } from '../../devices/cxl/host.js';
import type { SharedObjects } from '../../devices/core/shared-object.js';
import type { PciFunction } from '../../devices/pci/function.js';

import {
  createPlatform,
  type MachineKind,
  type Platform,
  type PlatformHost,
} from '../../devices/platform/platform.js';
import {
  MemorySlots,
  modulesEnd,
  type MemorySlotsConfig,
} from '../../devices/platform/memory-slots.js';
import { Powerdown } from '../../schema/control.js';
import { refused } from '../../schema/error.js';
import { GuestPolicy as GuestPolicyType } from '../../schema/guest-policy.js';
import type { EventData, EventDef, Infer } from '../../schema/lang.js';
import { DeviceDeleted, DeviceUnplugGuestError } from '../../schema/qdev.js';
import { hostTimer } from '../host-timer.js';
import { Migration } from '../migration/migration.js';
import type { Limits } from '../limits.js';
import type { RootLog } from '../log.js';
import { exposeCxl } from './cxl-properties.js';
import type { StateControl } from '../../devices/state/control.js';
import { stateControl } from './device-state.js';
import type { DeviceEntry } from './device-entry.js';
import type { CharTable } from '../chardev/table.js';
import type { DescriptorBudget } from './descriptor-budget.js';
import { DescriptorSets } from './descriptor-sets.js';
import { DeviceTable } from './device-table.js';
import { flushEverything } from './flush.js';
import { GuestDrivers, wakeDriver } from './guest-drivers.js';
import { NumaNodes } from './numa.js';
import { ObjectTable } from './object-table.js';
import { QomObject } from './qom.js';
import { RunState, type ShutdownReason } from './run-state.js';
import { StateFiles } from '../state-files/state-files.js';
import type { InheritedDescriptors } from '../os/inherited-descriptors.js';
import type { LoadNative } from '../os/native.js';
import type { Turn } from './turn.js';
import type { TypeRegistry } from './type-registry.js';
import { VirtualClock, type ClockDriver } from './virtual-clock.js';
import type { YankInstances } from './yank-instances.js';

export type GuestPolicy = Infer<typeof GuestPolicyType>;

/** What a reset and a shutdown do (`set-action`). */
export interface Actions {
  readonly reboot: 'reset' | 'shutdown';
  readonly shutdown: 'poweroff' | 'pause';
}

/** `-global DRIVER.PROPERTY=VALUE`. */
export interface GlobalSetting {
  readonly driver: string;
  readonly property: string;
  readonly value: string;
}

export interface MachineOptions {
  /** Name under which the daemon knows the machine. */
  readonly name: string;
  /** `-name`; undefined answers `query-name` with an empty object. */
  readonly guestName: string | undefined;
  readonly uuid: string | undefined;
  readonly kind: MachineKind;
  readonly ramSize: bigint;
  /** Room for memory devices; default none. */
  readonly memorySlots?: MemorySlotsConfig;
  /** `cxl=on`; undefined: no CXL. */
  readonly cxl?: CxlConfig | undefined;
  /** `-machine memory-backend=ID`. */
  readonly ramBackend: string | undefined;
  /** False with `-nodefaults`: no VGA, no network card. */
  readonly defaults: boolean;
  readonly guestPolicy: GuestPolicy;
  /** Who moves the virtual clock. Default `host`. */
  readonly clock?: ClockDriver;
  readonly globals: readonly GlobalSetting[];
  readonly types: TypeRegistry;
  readonly loadNative: LoadNative;
  readonly hostMemory: HostMemoryService;
  readonly eventNotifiers: EventNotifiers;
  readonly chardevs: CharTable;
  readonly yanks: YankInstances;
  readonly descriptorBudget: DescriptorBudget;
  readonly sharedObjects: SharedObjects;
  readonly inherited: InheritedDescriptors;
  readonly log: RootLog;
  readonly limits: Limits;
  readonly turn: Turn;
  readonly emit: <E extends EventDef>(event: E, data: EventData<E>) => void;
  /** Called once when the machine is to end (`quit`). */
  readonly onQuit: () => void;
}

/** What one QEMU process is to its clients (design §2). */
export class Machine {
  readonly options: MachineOptions;
  readonly root = new QomObject('container');
  readonly clock: VirtualClock;
  readonly runState: RunState;
  readonly objects: ObjectTable;
  readonly devices: DeviceTable;
  readonly platform: Platform;
  readonly memorySlots: MemorySlots;
  readonly turn: Turn;
  readonly stateFiles: StateFiles;
  readonly drivers = new GuestDrivers();
  readonly descriptorSets: DescriptorSets;
  readonly numa = new NumaNodes();
  readonly migration: Migration;
  /** Creates the machine that waits in `--preconfig`; undefined when it does not wait. */
  preconfig: (() => Promise<void>) | undefined;
  readonly #object: QomObject;
  readonly #deferred: (() => void)[] = [];
  #guestPolicy: GuestPolicy;
  #actions: Actions = { reboot: 'reset', shutdown: 'poweroff' };
  #ready = false;
  #closed = false;

  constructor(options: MachineOptions) {
    this.options = options;
    this.turn = options.turn;
    this.descriptorSets = new DescriptorSets(options.descriptorBudget);
    this.stateFiles = new StateFiles(options);
    this.clock = new VirtualClock({ driver: options.clock ?? 'host' });
    this.#guestPolicy = options.guestPolicy;
    this.runState = new RunState(this.clock, options.emit);
    this.migration = new Migration(this);
    const objects = this.root.addChild('objects', new QomObject('container'));
    this.root.addChild('chardevs', options.chardevs.container);
    this.objects = new ObjectTable({
      container: objects,
      hostMemory: options.hostMemory,
      log: options.log,
      cpuCount: availableParallelism(),
    });
    this.platform = createPlatform(options.kind, {
      ramSize: options.ramSize,
      ram: () => this.objects.ram,
      defaults: options.defaults,
      cxl: options.cxl,
      modulesEnd: modulesEnd(options.kind, options.ramSize, options.memorySlots),
      host: this.#platformHost(),
    });
    this.memorySlots = new MemorySlots(
      options.kind,
      options.ramSize,
      this.platform.memory,
      options.memorySlots,
      () => this.numa.nodes.length,
    );
    this.#object = new QomObject(`${this.platform.canonicalName}-machine`, this);
    this.root.addChild('machine', this.#object);
    this.#exposeMachine();
    const folder = (name: string): QomObject =>
      this.#object.addChild(name, new QomObject('container'));
    this.devices = new DeviceTable({
      root: this.root,
      peripheral: folder('peripheral'),
      anonymous: folder('peripheral-anon'),
      unattached: folder('unattached'),
      types: options.types,
      platform: () => this.platform,
      memorySlots: () => this.memorySlots,
      hostMemory: options.hostMemory,
      context: (entry) => this.#context(entry),
      globals: (type) => this.#globalsFor(type),
      log: options.log,
      ready: () => this.#ready,
      stateControl: (entry) =>
        stateControl(entry, {
          passBytes: options.limits['state-pass-bytes'],
          emit: options.emit,
        }),
      deleted: (entry, path) => this.#deviceDeleted(entry, path),
    });
  }

  get guestPolicy(): GuestPolicy {
    return this.#guestPolicy;
  }
  /** False while the machine still takes cold-plugged devices. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Builds the board: RAM, host bridges, default devices. */
  async build(): Promise<void> {
    const { kind, ramSize, ramBackend } = this.options;
    this.numa.check();
    const memdevs = this.numa.nodes.flatMap(({ memdev }) => memdev ?? []);
    if (memdevs.length > 0) this.objects.claimNodes(ramSize, memdevs);
    else if (ramSize > 0n)
      this.objects.claimRam(kind === 'none' ? 'ram' : 'pc.ram', ramSize, ramBackend);
    for (const host of this.platform.hosts) {
      const object = this.#object.addChild(host.qomName, new QomObject(host.typeName, host));
      this.devices.addBusObject(host.bus, object);
      object.addChild('ioapic', new QomObject('ioapic', this.platform.interrupts));
    }
    const [host] = this.platform.hosts;
    if (host === undefined) return;
    const object = this.#object.children.get(host.qomName) ?? this.#object;
    for (const board of this.platform.board) await this.devices.addBoard(board, host.bus, object);
  }
  /** Ends cold-plug: everything is reset once, and the machine runs unless it is to wait. */
  start(paused: boolean): void {
    this.#ready = true;
    this.platform.ready();
    this.#resetDevices('cold');
    if (!paused && this.runState.status !== 'inmigrate') this.runState.begin();
  }

  /** What `set-action` chose; of these only reset and shutdown can happen here. */
  setActions(actions: Partial<Actions>): void {
    this.#actions = { ...this.#actions, ...actions };
  }
  /** `system_reset`: devices, then the platform, then RESET; removals it completes are told later. */
  reset(): void {
    if (this.migration.gate.isHeld) throw refused('Migration is not finalized yet');
    if (this.migration.isArriving)
      throw refused(
        'an incoming migration is under way: the machine cannot be reset before its end',
      );
    if (this.#actions.reboot === 'shutdown') {
      this.#shutdownInsteadOfReset();
      return;
    }
    this.#resetDevices('warm');
    this.runState.reset();
  }
  #shutdownInsteadOfReset(): void {
    const reason = 'host-qmp-system-reset';
    if (this.#actions.shutdown === 'poweroff') this.shutdown(reason);
    else this.runState.shutdownAndPause(reason);
  }
  powerdown(): void {
    this.options.emit(Powerdown, {});
  }
  /** `quit` and signals: SHUTDOWN now, the end once the reply is out. */
  shutdown(reason: ShutdownReason): void {
    this.runState.shutdown(reason);
    this.defer(this.options.onQuit);
  }
  /** Runs `action` once the reply of the running command is on its way. */
  defer(action: () => void): void {
    this.#deferred.push(action);
    if (this.#deferred.length === 1) setImmediate(() => this.#runDeferred());
  }
  /** Writes shared memory to its files, unrealizes all devices, gives all memory back. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.migration.close();
    this.clock.close();
    await this.stateFiles.close();
    await flushEverything(this);
    await this.devices.close();
    this.objects.close();
    this.descriptorSets.close();
  }

  /** The guest lets go of a function whose removal was asked for (`guest-eject`, guest policy). */
  eject(entry: DeviceEntry): void {
    if (entry.memory !== undefined && entry.pci === undefined) {
      if (!this.memorySlots.isPending(entry.memory))
        throw refused(`No unplug of device '${entry.id ?? entry.object.path}' is pending`);
      this.devices.remove(entry);
      return;
    }
    const fn = entry.pci?.pci;
    if (fn?.bus?.hotplug === undefined)
      throw refused(`device '${entry.id ?? entry.object.path}' is on no bus that can hot-unplug`);
    this.platform.guestEject(fn, true);
  }

  /** The guest refuses to let go of a memory device; others it leaves without a word. */
  refuseUnplug(entry: DeviceEntry): void {
    if (entry.memory === undefined || !this.memorySlots.isPending(entry.memory)) return;
    this.memorySlots.rejectUnplug(entry.memory);
    const { path } = entry.object;
    const data = entry.id === undefined ? { path } : { device: entry.id, path };
    this.options.emit(DeviceUnplugGuestError, data);
  }

  /** What runs may defer more (an eject its event): that is done in the same go. */
  #runDeferred(): void {
    for (let action = this.#deferred[0]; action !== undefined; action = this.#deferred[0]) {
      try {
        action();
      } catch (error) {
        this.options.log.error({ err: error }, 'deferred work failed');
      }
      this.#deferred.shift();
    }
  }
  #resetDevices(type: ResetType): void {
    for (const { activity, device } of this.devices.entries) {
      activity.reset();
      device.reset(type);
    }
    this.platform.reset();
  }
  #deviceDeleted(entry: DeviceEntry, path: string): void {
    const data = entry.id === undefined ? { path } : { device: entry.id, path };
    this.defer(() => this.options.emit(DeviceDeleted, data));
  }
  #context(entry: Pick<DeviceContext, 'id' | 'path' | 'typeName'>): DeviceContext {
    const life = this.#life();
    return {
      ...entry,
      log: this.options.log.child({ device: entry.id ?? entry.path }),
      ...life,
      hostMemory: this.options.hostMemory,
      hostTimer,
      eventNotifiers: this.options.eventNotifiers,
      sharedObjects: this.options.sharedObjects,
      stateTarget: (name) => this.#stateTarget(name, entry),
      awaitsMigration: () => this.runState.status === 'inmigrate',
      blockMigration: (reason) => this.migration.blockers.add(reason),
      chardevs: this.options.chardevs,
      askGuest: (answer) =>
        this.defer(() => {
          life.activity.whenActive(() => {
            if (this.#guestPolicy === 'accept') answer();
          });
        }),
      wakeDriver: () => wakeDriver(this, entry.path),
      emit: this.options.emit,
      platform: this.platform,
    };
  }
  #stateTarget(name: string, by: Pick<DeviceContext, 'id' | 'path'>): StateControl {
    if (name === by.id || name === by.path)
      throw refused(`device '${name}' cannot show a state of its own`);
    const { type, state } = this.devices.find(name);
    if (type.name === 'vfio-state')
      throw refused(`device '${name}' is a vfio-state: it has no state to show`);
    return state;
  }
  /** What stops one device, and what goes along when it is saved. */
  #life(): Pick<DeviceContext, 'clock' | 'activity' | 'memories'> {
    const activity = new Activity({ latched: this.options.limits['state-latched'] });
    const clock = new DeviceClock(this.clock, activity);
    return { clock, activity, memories: new OwnMemories(activity) };
  }
  #globalsFor(type: DeviceType): (readonly [string, string])[] {
    return this.options.globals
      .filter(({ driver }) => this.options.types.isA(type.name, driver))
      .map(({ property, value }) => [property, value] as const);
  }
  #platformHost(): PlatformHost {
    return {
      clock: this.clock,
      log: this.options.log.child({ part: 'platform' }),
      global: (driver, property) =>
        this.options.globals.findLast((g) => g.driver === driver && g.property === property)?.value,
      remove: (fn: PciFunction) => {
        const entry = this.devices.ofFunction(fn);
        if (entry !== undefined) this.devices.remove(entry);
      },
    };
  }
  #exposeMachine(): void {
    if (this.options.kind !== 'none') exposeCxl(this.#object, this.options.cxl);
    this.#object.addProperty('guest-policy', {
      type: GuestPolicyType.name,
      description: 'how built-in drivers answer for the guest: manual, accept or reject',
      get: () => this.#guestPolicy,
      set: (value) => {
        const policy = GuestPolicyType.values.find((candidate) => candidate === value);
        if (policy === undefined)
          throw refused(
            typeof value === 'string'
              ? `Parameter 'guest-policy' does not accept value '${value}'`
              : `Invalid parameter type for 'guest-policy', expected: string`,
          );
        this.#guestPolicy = policy;
        for (const { object } of this.devices.entries) wakeDriver(this, object.path);
      },
    });
  }
}
