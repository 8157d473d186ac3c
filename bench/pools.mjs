// Pools that hosts share: claims of blocks beside a loop in C, capacity end to end, many heads.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from './client.mjs';
import { percentile, resident, settle } from './load.mjs';
import { start, startMany } from './programs.mjs';

const SHARED_OBJECTS = '/dev/shm';
const NAME = `qmemd-bench-${process.pid}`;
const HEADS = 8;
/** 1 TiB in blocks of 2 MiB. */
const BLOCKS = 524288;
const OWNERS = 24;
const BLOCK = 2 << 20;

// One compare-and-swap per owner byte, as the original claims, and back at a byte that is taken.
// Prints the milliseconds of each claim that succeeds.
const C_SOURCE = `
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
static double now(int clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
int main(int argc, char **argv) {
  unsigned char *m = mmap(0, ${OWNERS + BLOCKS}, PROT_READ | PROT_WRITE, MAP_SHARED, open(argv[1], O_RDWR), 0);
  unsigned char mask = 1 << atoi(argv[2]);
  unsigned char *from = m + ${OWNERS}, *end = from + ${BLOCKS};
  double begin = atof(argv[3]), until = begin + atof(argv[4]);
  while (now(CLOCK_REALTIME) < begin) continue;
  while (now(CLOCK_REALTIME) < until) {
    double since = now(CLOCK_MONOTONIC);
    unsigned char *b = from;
    while (b < end && __sync_bool_compare_and_swap(b, 0, mask)) b++;
    if (b == end) printf("%f\\n", now(CLOCK_MONOTONIC) - since);
    while (b > from) __sync_fetch_and_and(--b, ~mask);
  }
  return 0;
}
`;

const attach = async (folder, head) => {
  const at = (path) => import(new URL(`../dist/${path}`, import.meta.url).href);
  const { NativeLoader } = await at('server/os/native.js');
  const { NativeSharedObjects } = await at('server/os/shared-objects.js');
  const { Pool } = await at('devices/cxl-mhsld/pool.js');
  const objects = new NativeSharedObjects(new NativeLoader(), folder);
  return Pool.attach(objects, { name: 'state', head, blocks: BLOCKS, init: true, adopt: false });
};

/** A process of its own: claims and releases all blocks for a while, as the loop in C does. */
const contend = async ([folder, ...numbers]) => {
  const [head, begin, ms] = numbers.map(Number);
  const all = [{ first: 0, count: BLOCKS }];
  const pool = await attach(folder, head);
  const samples = [];
  while (Date.now() < begin) continue;
  while (Date.now() < begin + ms) {
    const since = performance.now();
    if (pool.claim(all) !== undefined) continue;
    samples.push(performance.now() - since);
    pool.release(all);
  }
  pool.detach();
  process.stdout.write(samples.join('\n'));
};

const samplesOf = ([program, ...words]) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (bytes) => (text += bytes));
    child.on('close', (code) =>
      code === 0
        ? resolve(text.split('\n').filter(Boolean).map(Number))
        : reject(new Error(`${program} ended with ${code}`)),
    );
  });

/** Median milliseconds of a claim of everything while so many processes want it. */
const claimTimes = async (folder, command, processes, ms) => {
  // All of them are up by then.
  const begin = Date.now() + 1000 + 750 * processes;
  const words = (i) => [i, begin, ms].map(String);
  const all = Array.from({ length: processes }, (_, i) => samplesOf([...command, ...words(i)]));
  // The first claims warm up what compiles while it runs.
  return percentile(
    (await Promise.all(all)).flatMap((samples) => samples.slice(samples.length >> 2)),
    0.5,
  );
};

/** Claims of 1 TiB by one process, and by eight that contend for the same blocks. */
const claims = async () => {
  if (spawnSync('gcc', ['--version']).error !== undefined || !existsSync(SHARED_OBJECTS)) return [];
  const folder = mkdtempSync(join(SHARED_OBJECTS, `${NAME}-`));
  try {
    const program = join(folder, 'claim');
    execFileSync('gcc', ['-O2', '-x', 'c', '-o', program, '-'], { input: C_SOURCE });
    const keeper = await attach(folder, HEADS - 1);
    // The head of the same number comes with the contenders; the object stays for the loop in C.
    keeper.leave();
    const own = [process.execPath, fileURLToPath(import.meta.url), folder];
    const figures = [];
    for (const processes of [1, HEADS]) {
      const theirs = await claimTimes(folder, [program, join(folder, 'state')], processes, 1000);
      const mine = await claimTimes(folder, own, processes, 1000);
      if (!existsSync(join(folder, 'state'))) (await attach(folder, HEADS - 1)).leave();
      figures.push({ processes, blocks: BLOCKS, mine, theirs, ratio: mine / theirs });
    }
    return figures;
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const request = (execute, args) => ({ execute, arguments: args });
const add = (block) =>
  request('cxl-add-dynamic-capacity', {
    ...{ path: 'h', 'host-id': 0, 'selection-policy': 'prescriptive', region: 0 },
    extents: [{ offset: block * BLOCK, len: BLOCK }],
  });
const accept = request('guest-cxl-respond', { id: 'h', action: 'accept' });
const release = (block) =>
  request('guest-cxl-release', { id: 'h', extents: [{ 'start-dpa': block * BLOCK, len: BLOCK }] });

const head = (state, number) => ({
  ...{ driver: 'cxl-mhsld', id: 'h', bus: 'rp0', 'num-dc-regions': 1 },
  ...{ 'volatile-dc-memdev': 'm', 'mhd-state_file': state, 'mhd-head': number, 'mhd-init': true },
});
const host = (dir, count, i) => ({
  ...{ name: `m${i}`, machine: 'q35,cxl=on', defaults: false },
  objects: [{ 'qom-type': 'memory-backend-ram', id: 'm', size: 256 << 20 }],
  devices: [
    { driver: 'pxb-cxl', id: 'cxl.0', bus: 'pcie.0', bus_nr: 52 },
    { driver: 'cxl-rp', id: 'rp0', bus: 'cxl.0' },
    head(`${NAME}-${count}-${Math.floor(i / HEADS)}`, i % HEADS),
  ],
  monitors: [{ path: join(dir, `head${count}-${i}.sock`) }],
});

/** Add, accept and release of one extent per second, among as many heads; what a machine costs. */
const among = async (dir, count) => {
  const machines = Array.from({ length: count }, (_, i) => host(dir, count, i));
  const begin = performance.now();
  const server = await startMany(dir, machines);
  await server.client.call(request('query-status'));
  const readyMs = Math.round(performance.now() - begin);
  const clients = [server.client];
  for (let i = 1; i < Math.min(count, 20); i++) {
    const at = Math.floor((i * count) / 20);
    clients.push(await Client.open(machines[at].monitors[0].path));
    await clients.at(-1).call(request('qmp_capabilities'));
  }
  await settle();
  const bytes = resident(server.pid);
  const adds = [];
  const since = performance.now();
  for (let i = 0; i < ROUNDS; i++) {
    const client = clients[i % clients.length];
    // Neighbours in one pool take different blocks.
    const block = i % clients.length;
    const sent = performance.now();
    await client.call(add(block));
    adds.push((performance.now() - sent) * 1000);
    await client.call(accept);
    await client.call(release(block));
  }
  const perSecond = (ROUNDS * 1000) / (performance.now() - since);
  for (const client of clients) client.close();
  await server.stop();
  const p50 = Math.round(percentile(adds.slice(ROUNDS >> 1), 0.5));
  return { heads: count, readyMs, bytes, addMicroseconds: p50, perSecond };
};
const ROUNDS = 2000;

/** Removes the state objects of servers that were stopped hard. */
const clean = () => {
  for (const name of readdirSync(SHARED_OBJECTS))
    if (name.startsWith(NAME)) rmSync(join(SHARED_OBJECTS, name), { recursive: true, force: true });
};

export const pools = async (dir) => {
  try {
    const heads = [];
    for (const count of [1, 1000]) heads.push(await among(dir, count));
    return { claims: await claims(), heads };
  } finally {
    clean();
  }
};

export const printPools = ({ claims, heads }) => {
  console.log(
    'claims of blocks of a pool, beside one compare-and-swap for each in C, milliseconds',
  );
  for (const { processes, blocks, mine, theirs, ratio } of claims)
    console.log(
      `  ${processes} process(es), ${blocks} blocks: ${mine.toFixed(2)}, in C ${theirs.toFixed(2)}, ratio ${ratio.toFixed(2)} (wanted <= 3)`,
    );
  console.log('heads of pools in one daemon: add, accept and release of one extent');
  for (const { heads: count, readyMs, bytes, addMicroseconds, perSecond } of heads)
    console.log(
      `  ${count}: ${Math.round(perSecond)} /s, an add ${addMicroseconds} us, ${(bytes / 2 ** 20).toFixed(1)} MiB resident, up after ${readyMs} ms`,
    );
};

if (process.argv[1] === fileURLToPath(import.meta.url)) await contend(process.argv.slice(2));
