import { ftruncateSync, readdirSync, readlinkSync } from 'node:fs';
import type { CharDevices, CharListener } from '../../devices/core/char-device.js';
import type { DeviceContext, Log } from '../../devices/core/device.js';
import { refused } from '../../schema/error.js';
import { NativeEventNotifiers } from '../../server/os/event-notifiers.js';
import { NativeHostMemory } from '../../server/os/host-memory.js';
import { NativeLoader } from '../../server/os/native.js';
import { fakeContext } from './device-context.js';
import { native } from './passing.js';
import { fakeLog } from './pci.js';

const loader = new NativeLoader();

/** Messages of a server: a number, or a number with a descriptor, which is used up. */
export type Told = bigint | readonly [bigint, number];

/** A chardev `c0` whose other end the test plays. */
export class FakeServer implements CharDevices {
  connected = true;
  listener: CharListener | undefined;
  claimed = false;

  claim(id: string, property: string) {
    if (id !== 'c0') throw refused(`Property '${property}' can't find value '${id}'`);
    if (this.claimed) throw refused(`Property '${property}' can't take value 'c0': in use`);
    this.claimed = true;
    return {
      connected: this.connected,
      open: (listener: CharListener) => void (this.listener = listener),
      write: () => undefined,
      release: () => {
        this.claimed = false;
        this.listener = undefined;
      },
    };
  }

  /** Each message in a chunk of its own. */
  tell(...messages: readonly Told[]): void {
    for (const message of messages) {
      const [value, ...descriptors] = typeof message === 'bigint' ? [message] : message;
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(value);
      this.listener?.data(bytes, descriptors);
    }
  }
}

/** What a device on a server needs; `timers` are the time-outs that were set. */
export const serverContext = (
  given: Partial<DeviceContext> = {},
): {
  context: DeviceContext;
  server: FakeServer;
  timers: (() => void)[];
  warnings: unknown[];
  blocked: string[];
} => {
  const server = new FakeServer();
  const timers: (() => void)[] = [];
  const warnings: unknown[] = [];
  const blocked: string[] = [];
  const log: Log = { ...fakeLog(), warn: (data) => void warnings.push(data) };
  const context = fakeContext({
    log,
    chardevs: server,
    hostMemory: new NativeHostMemory(loader),
    eventNotifiers: new NativeEventNotifiers(loader.load),
    hostTimer: {
      after: (_ms, fire) => {
        timers.push(fire);
        return () => void timers.splice(timers.indexOf(fire), 1);
      },
    },
    blockMigration: (reason) => {
      blocked.push(reason);
      return () => void blocked.splice(blocked.indexOf(reason), 1);
    },
    ...given,
  });
  return { context, server, timers, warnings, blocked };
};

/** Shared memory as a server sends it. */
export const sharedMemory = (size: number): number => {
  const fd = native?.memfd('test', {}) ?? -1;
  ftruncateSync(fd, size);
  return fd;
};
export const eventCounter = (): number => native?.eventfd() ?? -1;

/** Memory and event counters that are open in this process. */
export const openDescriptors = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return /eventfd|memfd:test/.test(target) ? [`${fd} ${target}`] : [];
    } catch {
      return [];
    }
  });
