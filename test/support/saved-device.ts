import type { HostMapping } from '../../devices/core/host-memory.js';
import { encodeConfig } from '../../devices/state/config-format.js';
import type { DeviceEntry } from '../../server/machine/device-entry.js';
import { NativeHostMemory } from '../../server/os/host-memory.js';
import { NativeLoader } from '../../server/os/native.js';
import type { Cleanup } from './daemon.js';
import { startMachine, type TestMachine } from './machine.js';

const loader = new NativeLoader();
export const needsNative = loader.load() === undefined ? { skip: 'koffi is not installed' } : {};

/** An edu device named `d` whose own memory the test made. */
export interface SavedDevice extends TestMachine {
  readonly entry: DeviceEntry;
  readonly memories: readonly HostMapping[];
  /** All that load can change. */
  snapshot(): Buffer;
}

/** @param sizes bytes of the memories `m0`, `m1`, ... */
export const savedDevice = async (
  t: Cleanup,
  sizes: readonly bigint[],
  words: readonly string[] = [],
): Promise<SavedDevice> => {
  const service = new NativeHostMemory(loader);
  const started = await startMachine(t, ['-M', 'pc', '-device', 'edu,id=d', ...words]);
  const entry = started.machine.devices.find('d');
  const memories = sizes.map((size, i) => {
    const memory = service.anonymous({ size, share: i % 2 === 0, name: `m${String(i)}` });
    t.teardown(() => memory.close());
    entry.memories.add(`m${String(i)}`, memory);
    return memory;
  });
  const snapshot = (): Buffer => {
    const config = encodeConfig({ typeName: 'edu', version: 1 }, entry.device.save());
    const bytes = memories.map((memory) => {
      const into = Buffer.alloc(Number(memory.size));
      memory.read(0n, into);
      return into;
    });
    return Buffer.concat([config, ...bytes]);
  };
  // In the turn of the machine, as from a client: these commands give it up.
  const run: SavedDevice['run'] = async (command, args) => {
    await started.machine.turn.enter();
    try {
      // Checking narrows the integers of what it is given.
      return await started.run(command, { ...args });
    } finally {
      started.machine.turn.leave();
    }
  };
  return { ...started, run, entry, memories, snapshot };
};

/** Bytes that depend on nothing but `seed`. */
export const randomBytes = (seed: number, length: number): Buffer => {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed | 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return Buffer.from(words.buffer, 0, length);
};
