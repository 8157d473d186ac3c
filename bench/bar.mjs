// Memory written through a BAR inside the process, beside Buffer.copy into the same memory.
import { closeSync, ftruncateSync, openSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { AddressSpace } from '../dist/devices/core/address-space.js';
import { MemoryRegion } from '../dist/devices/core/memory-region.js';
import { NativeHostMemory } from '../dist/server/os/host-memory.js';
import { NativeLoader } from '../dist/server/os/native.js';

const SIZE = 4 << 20;
const BLOCK = 1 << 20;
const BASE = 0x1_e000_0000n;
const BLOCKS = 200;

/** System memory with a BAR at `BASE`, as a machine lays it out. */
const through = (memory) => {
  const system = MemoryRegion.container('system', 1n << 64n);
  const pci = MemoryRegion.container('pci', 1n << 64n);
  system.add(pci, 0n, -1);
  pci.add(MemoryRegion.ram('bar', { memory }), BASE, 1);
  return new AddressSpace(system, 'zeros');
};

/** MiB per second of `write(offset)`. */
const speed = (write) => {
  const start = performance.now();
  for (let i = 0; i < BLOCKS; i++) write((i % (SIZE / BLOCK)) * BLOCK);
  return (BLOCKS * 1000) / (performance.now() - start);
};

/** Both ways into `memory`, which others can map by its descriptor. */
const sample = (native, memory, rounds) => {
  const { fd, offset } = memory.descriptor;
  const address = native.mmap({ size: BigInt(SIZE), fd, offset, share: true, readonly: false });
  const same = Buffer.from(native.view(address, SIZE));
  const space = through(memory);
  const block = Buffer.alloc(BLOCK, 0x5a);
  const bar = (at) => space.writeBytes(BASE + BigInt(at), block);
  const copy = (at) => block.copy(same, at);
  speed(bar);
  speed(copy);
  const samples = { bar: [], copy: [] };
  for (let round = 0; round < rounds; round++) {
    samples.bar.push(speed(bar));
    samples.copy.push(speed(copy));
  }
  return samples;
};

/**
 * MiB per second by kind of memory; empty without the native layer.
 *
 * @returns {Promise<Record<string, { bar: number[], copy: number[] }>>}
 */
export const barWrites = async (dir, rounds) => {
  const loader = new NativeLoader();
  const native = loader.load();
  if (native === undefined) return {};
  const service = new NativeHostMemory(loader);
  const anonymous = service.anonymous({ size: BigInt(SIZE), share: true, name: 'bench' });
  const path = join(dir, 'bar-memory');
  const fd = openSync(path, 'w+');
  ftruncateSync(fd, SIZE);
  closeSync(fd);
  const file = service.open(path);
  const mapped = file.map(0n, BigInt(SIZE));
  const samples = {
    'memory of its own': sample(native, anonymous, rounds),
    'a shared file': sample(native, mapped, rounds),
  };
  for (const part of [anonymous, mapped, file]) part.close();
  unlinkSync(path);
  return samples;
};
