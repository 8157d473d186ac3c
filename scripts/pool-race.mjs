// Heads of a pool and a program without locks claim and release blocks of one state object at the
// same time: no block may ever have two owners. Used small by the tests and in full by
// scripts/soak.mjs (reference/cxl.md §9).
import { execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BLOCKS = 2048;
const OWNERS = 24;
/** Head that the program without locks plays. */
const LOCKLESS_HEAD = 7;
const MOST_BLOCKS = 8;

// The witness has a byte per block: who believes to own it. Two believers meet there.
const C_SOURCE = `
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
static volatile unsigned char *map(const char *path, int size) {
  return mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, open(path, O_RDWR), 0);
}
int main(int argc, char **argv) {
  volatile unsigned char *m = map(argv[1], ${OWNERS + BLOCKS}), *w = map(argv[2], ${BLOCKS});
  long operations = atol(argv[3]);
  int head = atoi(argv[4]), wins = 0, doubles = 0;
  unsigned char mask = 1 << head;
  unsigned int seed = 12345;
  for (long i = 0; i < operations; i++) {
    int n = 1 + rand_r(&seed) % ${MOST_BLOCKS}, first = rand_r(&seed) % (${BLOCKS} - n), got = 0;
    while (got < n && __sync_bool_compare_and_swap(&m[${OWNERS} + first + got], 0, mask)) got++;
    if (got == n) {
      wins++;
      for (int b = first; b < first + n; b++) doubles += !__sync_bool_compare_and_swap(&w[b], 0, mask);
      for (int b = first; b < first + n; b++) doubles += !__sync_bool_compare_and_swap(&w[b], mask, 0);
    }
    for (int b = first; b < first + got; b++) doubles += __sync_fetch_and_and(&m[${OWNERS} + b], ~mask) != mask;
  }
  return printf("%d %d\\n", wins, doubles) < 0;
}
`;

export const raceForBlocks = async ({ dist, operations, heads, directory, c }) => {
  const folder = fs.mkdtempSync(join(directory, 'qmemd-pool-'));
  try {
    fs.writeFileSync(join(folder, 'witness'), Buffer.alloc(BLOCKS));
    const keeper = await attach(dist, folder, 0, true);
    const node = [process.execPath, ...process.execArgv, fileURLToPath(import.meta.url)];
    const args = [join(folder, 'state'), join(folder, 'witness'), operations];
    const contenders = Array.from({ length: heads }, (_, i) => [
      ...node,
      dist.href,
      folder,
      operations,
      i + 1,
    ]);
    if (c) contenders.push([compile(folder), ...args, LOCKLESS_HEAD]);
    const results = await Promise.all(contenders.map((words) => run(words.map(String))));
    const owned = keeper.owners().length;
    keeper.detach();
    return {
      wins: results.map(([wins]) => wins),
      doubles: results.reduce((sum, [, doubles]) => sum + doubles, 0),
      owned,
      left: fs.existsSync(join(folder, 'state')),
    };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
};

const load = async (dist, folder) => {
  const at = (path) => import(new URL(path, dist).href);
  const { NativeLoader } = await at('server/os/native.js');
  const { NativeSharedObjects } = await at('server/os/shared-objects.js');
  const { Pool } = await at('devices/cxl-mhsld/pool.js');
  return { Pool, objects: new NativeSharedObjects(new NativeLoader(), folder) };
};

const attach = async (dist, folder, head, init) => {
  const { Pool, objects } = await load(dist, folder);
  return Pool.attach(objects, { name: 'state', head, blocks: BLOCKS, init, adopt: false });
};

const compile = (folder) => {
  const program = join(folder, 'lockless');
  execFileSync('gcc', ['-O2', '-x', 'c', '-o', program, '-'], { input: C_SOURCE });
  return program;
};

const run = ([program, ...args]) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (bytes) => (text += bytes));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0
        ? resolve(text.split(' ').map(Number))
        : reject(new Error(`${program} ended with ${code}`)),
    );
  });

const contend = async ([href, folder, ...numbers]) => {
  const [operations, head] = numbers.map(Number);
  const dist = new URL(href);
  const { objects } = await load(dist, folder);
  const witness = objects.open('witness').bytes;
  const pool = await attach(dist, folder, head, false);
  const mask = 1 << head;
  let [wins, doubles] = [0, 0];
  for (let i = 0; i < operations; i++) {
    const count = 1 + Math.floor(Math.random() * MOST_BLOCKS);
    const first = Math.floor(Math.random() * (BLOCKS - count));
    if (pool.claim([{ first, count }]) !== undefined) continue;
    wins += 1;
    if (witness.claim(first, count, mask) !== count) doubles += 1;
    if (!pool.owns({ first, count })) doubles += 1;
    witness.clearBits(first, count, mask);
    pool.release([{ first, count }]);
  }
  pool.detach();
  process.stdout.write(`${wins} ${doubles}\n`);
};

if (process.argv[1] === fileURLToPath(import.meta.url)) await contend(process.argv.slice(2));
