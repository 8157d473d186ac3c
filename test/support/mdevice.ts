import * as fs from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { Activity } from '../../devices/core/activity.js';
import { OwnMemories } from '../../devices/core/own-memory.js';
import { DynamicMdevice } from '../../devices/dynamic-mdevice/device.js';
import { dynamicMdevice } from '../../devices/dynamic-mdevice/index.js';
import { REGISTERS, ring } from '../../devices/dynamic-mdevice/registers.js';
import { MessageReceiver, MESSAGE_BASE } from '../../devices/platform/messages.js';
import { FunctionAccess } from '../../server/machine/guest-access.js';
import type { PciBusOptions } from '../../devices/pci/bus.js';
import { NativeHostMemory } from '../../server/os/host-memory.js';
import { NativeLoader } from '../../server/os/native.js';
import { fakeContext } from './device-context.js';
import { FakeClock } from './test-board.js';
import { fakeRoot } from './pci.js';

const loader = new NativeLoader();
export const needsNative = loader.load() === undefined ? { skip: 'koffi is not installed' } : {};

export type RegisterName = keyof typeof REGISTERS;
export interface Emitted {
  readonly event: string;
  readonly data: unknown;
}
type All = ConstructorParameters<typeof DynamicMdevice>[1];
type Properties = { readonly [K in keyof All]?: All[K] | undefined };

/** Host time that moves when told. */
export class FakeTimers {
  #timers = new Set<{ at: number; fire: () => void }>();
  #now = 0;
  readonly after = (ms: number, fire: () => void): (() => void) => {
    const timer = { at: this.#now + ms, fire };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };
  get pending(): number {
    return this.#timers.size;
  }
  step(ms: number): void {
    this.#now += ms;
    for (const timer of [...this.#timers])
      if (timer.at <= this.#now) {
        this.#timers.delete(timer);
        timer.fire();
      }
  }
}

/** A file of `length` bytes; byte n of page p holds p + 1. */
export const backingFile = (t: Test, length: number): string => {
  const path = join(t.testdir({ backing: '' }), 'backing');
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4096) bytes.fill(at / 4096 + 1, at, at + 4096);
  fs.writeFileSync(path, bytes);
  return path;
};

/** One dynamic-mdevice on a root bus, as the machine plugs it, not yet realized. */
export class MdeviceBench {
  readonly device: DynamicMdevice;
  readonly root: ReturnType<typeof fakeRoot>;
  readonly emitted: Emitted[] = [];
  readonly messages = new MessageReceiver();
  readonly timers = new FakeTimers();
  readonly activity = new Activity();
  readonly memories = new OwnMemories(this.activity);
  #access: FunctionAccess | undefined;

  constructor(properties: Properties, bus: Partial<PciBusOptions> = {}) {
    this.root = fakeRoot(bus);
    this.root.systemMemory.root.add(this.messages.region, MESSAGE_BASE, 1);
    const defaults = Object.entries(dynamicMdevice.properties).map(([name, p]) => [
      name,
      p.default,
    ]);
    const context = fakeContext({
      id: 'md0',
      path: '/machine/peripheral/md0',
      typeName: 'dynamic-mdevice',
      clock: new FakeClock(),
      activity: this.activity,
      memories: this.memories,
      hostMemory: new NativeHostMemory(loader),
      emit: ({ name }: { name: string }, data: unknown) =>
        void this.emitted.push({ event: name, data }),
    });
    const all = { ...Object.fromEntries(defaults), ...properties } as All;
    this.device = new DynamicMdevice(context, all);
    this.root.bus.attach(this.device.pci, 8, { hotplugged: false });
  }

  /** Realizes it, resets it and sets MEM and MASTER. */
  static started(t: Test, properties: Properties, bus: Partial<PciBusOptions> = {}): MdeviceBench {
    const bench = new MdeviceBench(properties, bus);
    bench.device.realize();
    t.teardown(() => bench.device.unrealize());
    bench.device.reset('cold');
    bench.enable();
    return bench;
  }

  get access(): FunctionAccess {
    const { messages, timers } = this;
    this.#access ??= new FunctionAccess(this.device.pci, {
      name: 'md0',
      messages,
      after: timers.after,
    });
    return this.#access;
  }

  enable(command = 6): void {
    this.device.pci.writeConfig(4, 2, command);
  }
  /** Programs MSI to RAM, where `message` finds it. */
  enableMsi(): void {
    const { pci } = this.device;
    pci.writeConfig(0x44, 4, 0x8000);
    pci.writeConfig(0x4c, 2, 0x4d53);
    pci.writeConfig(0x42, 2, 1);
  }
  /** Whether a message has arrived since the last look. */
  message(): boolean {
    const seen = this.root.ram.readInt(0x8000n, 4) === 0x4d53n;
    this.root.ram.writeInt(0x8000n, 4, 0n);
    return seen;
  }

  read(name: RegisterName): bigint {
    const { offset, size } = REGISTERS[name];
    return this.device.pci.readBar(0, offset, size);
  }
  write(name: RegisterName, value: bigint): void {
    const { offset, size } = REGISTERS[name];
    this.device.pci.writeBar(0, offset, size, value);
  }
  run(command: bigint, size: bigint, offset: bigint): bigint {
    this.write('MEM_SIZE', size);
    this.write('MEM_OFFSET', offset);
    this.write('DOOR_BELL', ring(command));
    return this.read('INT_STATUS');
  }
  /** As `run`, with INT_STATUS clear before. */
  fresh(command: bigint, size: bigint, offset: bigint): bigint {
    this.write('INT_STATUS', 0xffffffffn);
    return this.run(command, size, offset);
  }
  memory(offset: number): number {
    return Number(this.device.pci.readBar(2, offset, 1));
  }
}
