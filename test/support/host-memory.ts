import { readFileSync } from 'node:fs';
import { NativeHostMemory } from '../../server/os/host-memory.js';
import { NativeLoader } from '../../server/os/native.js';
import type { Cleanup } from './daemon.js';

export const loader = new NativeLoader();
export const service = new NativeHostMemory(loader);

/** How many mappings of this process have `text` in their name. */
export const mapsOf = (text: string): number =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(text)).length;

/** Closes `thing` with the test. */
export const closing = <T extends { close(): void }>(t: Cleanup, thing: T): T => {
  t.teardown(() => thing.close());
  return thing;
};
