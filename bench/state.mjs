// Saved devices beside cp of the same bytes, and what dirty tracking costs.
import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DIRTY_PAGE, DirtyLog } from '../dist/devices/core/dirty-log.js';
import { NativeHostMemory } from '../dist/server/os/host-memory.js';
import { NativeLoader } from '../dist/server/os/native.js';
import { start } from './programs.mjs';

const MEMORY_FILES = '/dev/shm';
const MiB = 1 << 20;
const SIZE = 1024 * MiB;

const writeRandom = (path) => {
  const piece = Buffer.alloc(16 * MiB);
  const fd = openSync(path, 'w');
  for (let at = 0; at < SIZE; at += piece.length) writeSync(fd, randomFillSync(piece), 0);
  closeSync(fd);
};

/** MiB per second of a wait. */
const speed = async (work) => {
  const begin = performance.now();
  await work();
  return SIZE / MiB / ((performance.now() - begin) / 1000);
};

/**
 * MiB per second of saving and loading 1 GiB of random bytes that are in a file or in a memfd, and of
 * cp; undefined where there is no memory file system.
 */
export const savedMemory = async (dir, rounds) => {
  if (!existsSync(MEMORY_FILES)) return undefined;
  const folder = mkdtempSync(join(MEMORY_FILES, 'qmemd-bench-'));
  try {
    return await measure(dir, folder, rounds);
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const measure = async (dir, folder, rounds) => {
  const [memory, copy, state] = ['memory', 'copy', 'state'].map((name) => join(folder, name));
  writeRandom(memory);
  const { client, stop } = await start('qmemd', dir, [
    ...['-M', 'q35', '-nodefaults'],
    ...['-object', `memory-backend-file,id=m0,size=1G,mem-path=${memory},share=on`],
    ...['-object', 'memory-backend-memfd,id=m1,size=1G'],
    ...['-device', 'iopmem,id=file,memdev=m0', '-device', 'iopmem,id=memfd,memdev=m1'],
  ]);
  const run = (command, args) => client.call({ execute: command, arguments: args });
  const samples = { cp: [], file: { save: [], load: [] }, memfd: { save: [], load: [] } };
  const copying = () => {
    rmSync(copy, { force: true });
    spawnSync('cp', [memory, copy]);
  };
  try {
    for (const id of ['file', 'memfd']) await run('device-state-set', { id, state: 'stop' });
    await run('device-save', { id: 'file', path: state });
    await run('device-load', { id: 'memfd', path: state });
    for (let round = 0; round < rounds; round++) {
      samples.cp.push(await speed(copying));
      for (const id of ['file', 'memfd']) {
        rmSync(state);
        samples[id].save.push(await speed(() => run('device-save', { id, path: state })));
        if (statSync(state).size < SIZE) throw new Error(`${id} was not saved`);
        samples[id].load.push(await speed(() => run('device-load', { id, path: state })));
      }
    }
    return samples;
  } finally {
    await stop();
  }
};

export const printState = ({ scans, writes }) => {
  console.log('taking the dirty pages of 64 GiB, 4 KiB each');
  for (const { percent, dirty, ms } of scans)
    console.log(`  ${percent} % dirty (${dirty}): ${ms.toFixed(1)} ms`);
  console.log('one write to memory, nanoseconds');
  for (const { what, plain, tracked } of writes)
    console.log(`  ${what}: ${plain.toFixed(0)}, with its pages noted ${tracked.toFixed(0)}`);
};

const SCANNED = 64n << 30n;
const PAGES = Number(SCANNED) / DIRTY_PAGE;
/** Pages of one answer. */
const BATCH = 65_536;

/** Milliseconds to take all dirty pages of 64 GiB, by share of dirty pages in a hundred. */
export const dirtyScans = () =>
  [0, 1, 50, 100].map((percent) => {
    const log = new DirtyLog({ size: SCANNED, onWrite: () => () => undefined });
    const step = 100 / percent;
    for (let page = 0; percent > 0 && page < PAGES; page += step) log.mark(page * DIRTY_PAGE, 1);
    const dirty = log.dirtyPages;
    const begin = performance.now();
    let from = 0;
    for (let runs = log.take(from, BATCH); runs.length > 0; runs = log.take(from, BATCH)) {
      const { offset, length } = runs.at(-1);
      from = Math.ceil((offset + length) / DIRTY_PAGE);
    }
    return { percent, dirty, ms: performance.now() - begin };
  });

/** Nanoseconds of one write to memory, without and with a log of dirty pages. */
export const trackedWrites = () => {
  const loader = new NativeLoader();
  if (loader.load() === undefined) return [];
  const service = new NativeHostMemory(loader);
  const memory = service.anonymous({ size: BigInt(64 * MiB), share: true, name: 'bench' });
  const page = Buffer.alloc(DIRTY_PAGE, 1);
  const writes = {
    '8 bytes': (at) => memory.writeInt(at, 8, 1n),
    '4 KiB': (at) => memory.write(at, page),
  };
  const nanoseconds = (write) => {
    const count = 1_000_000;
    const begin = performance.now();
    for (let i = 0; i < count; i++) write(BigInt((i % 16_384) * DIRTY_PAGE));
    return ((performance.now() - begin) * 1e6) / count;
  };
  const figures = Object.entries(writes).map(([what, write]) => {
    nanoseconds(write);
    const plain = nanoseconds(write);
    const log = new DirtyLog(memory);
    nanoseconds(write);
    const tracked = nanoseconds(write);
    log.close();
    return { what, plain, tracked };
  });
  memory.close();
  return figures;
};
