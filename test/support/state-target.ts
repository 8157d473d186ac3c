import { createHash } from 'node:crypto';
import { Activity } from '../../devices/core/activity.js';
import { OwnMemories } from '../../devices/core/own-memory.js';
import { StateControl } from '../../devices/state/control.js';
import { refused } from '../../schema/error.js';
import { ArrayMemory } from './pci.js';

export interface FakeTarget {
  readonly control: StateControl;
  readonly activity: Activity;
  readonly memories: OwnMemories;
  readonly memory: ArrayMemory;
  readonly config: Uint8Array;
  /** Every change of the state, from and to. */
  readonly changes: (readonly [number, number])[];
  dma(address: bigint, length: number): void;
  digest(): string;
}

/** A device without a machine: memory, 64 bytes of configuration, DMA. */
export const fakeTarget = (
  size = 20_000,
  { passBytes = 2 ** 26, capabilities = 3 } = {},
): FakeTarget => {
  const activity = new Activity();
  const memories = new OwnMemories(activity);
  const memory = new ArrayMemory(size);
  memories.add('memory', memory);
  const config = new Uint8Array(64);
  const changes: (readonly [number, number])[] = [];
  const hooks = new Set<(address: bigint, length: number) => void>();
  const control = new StateControl({
    name: 'dev0',
    activity,
    memories,
    config: {
      save: () => config.slice(),
      load: (bytes) => {
        if (bytes[0] === 0xff) throw refused('configuration begins with ff');
        config.set(bytes);
      },
      capacity: config.length,
      capabilities,
    },
    onDmaWrite: (hook) => {
      hooks.add(hook);
      return () => void hooks.delete(hook);
    },
    passBytes,
    changed: (from, to) => void changes.push([from, to]),
  });
  return {
    ...{ control, activity, memories, memory, config, changes },
    dma: (address, length) => hooks.forEach((hook) => hook(address, length)),
    digest: () => createHash('sha256').update(config).update(memory.bytes).digest('hex'),
  };
};
