// Claims by compare-and-swap in memory that several processes map: nothing may be lost.
// Used small by the tests and in full by scripts/soak.mjs (reference/native-os-access.md §6, 5).
import { execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const READY = 0;
const COUNTER = 1;
const LOCK = 8;
const SLOTS = 4096;

const C_SOURCE = `
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int argc, char **argv) {
  int claims = atoi(argv[2]), increments = atoi(argv[3]), id = atoi(argv[4]), all = atoi(argv[5]);
  int fd = open(argv[1], O_RDWR), wins = 0;
  volatile char *m = mmap(0, ${SLOTS} + claims, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  volatile int *w = (volatile int *)m;
  __sync_fetch_and_add(&w[${READY}], 1);
  while (w[${READY}] < all) usleep(1000);
  for (int i = 0; i < claims; i++) wins += __sync_bool_compare_and_swap(&m[${SLOTS} + i], 0, (char)id);
  for (int i = 0; i < increments; i++) {
    while (!__sync_bool_compare_and_swap(&m[${LOCK}], 0, (char)id)) ;
    w[${COUNTER}] = w[${COUNTER}] + 1;
    __sync_lock_release(&m[${LOCK}]);
  }
  return printf("%d\\n", wins) < 0;
}
`;

export const raceForClaims = async ({ native, claims, increments, directory, c }) => {
  const folder = fs.mkdtempSync(join(directory, 'qmemd-claims-'));
  // They wait for each other: when one fails the others must go, too.
  const over = new AbortController();
  try {
    const path = join(folder, 'slots');
    fs.writeFileSync(path, Buffer.alloc(SLOTS + claims));
    const node = [process.execPath, ...process.execArgv, fileURLToPath(import.meta.url)];
    const programs = [
      [...node, native.href],
      [...node, native.href],
      ...(c ? [[compile(folder)]] : []),
    ];
    const all = programs.length;
    const wins = await Promise.all(
      programs.map((program, i) =>
        run([...program, path, claims, increments, i + 1, all].map(String), over.signal),
      ),
    );
    return count(fs.readFileSync(path), { wins, claims, increments });
  } finally {
    over.abort();
    fs.rmSync(folder, { recursive: true });
  }
};

const compile = (folder) => {
  const program = join(folder, 'claims');
  execFileSync('gcc', ['-O2', '-x', 'c', '-o', program, '-'], { input: C_SOURCE });
  return program;
};

const run = ([program, ...args], signal) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], signal });
    let text = '';
    child.stdout.on('data', (bytes) => (text += bytes));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve(Number(text)) : reject(new Error(`${program} ended with ${code}`)),
    );
  });

const count = (bytes, { wins, claims, increments }) => {
  const owned = wins.map(() => 0);
  for (const owner of bytes.subarray(SLOTS, SLOTS + claims)) owned[owner - 1] += 1;
  const lostClaims = wins.reduce((sum, won, i) => sum + Math.abs(won - owned[i]), 0);
  const total = increments * wins.length;
  return { lostClaims, lostIncrements: total - bytes.readInt32LE(4 * COUNTER), wins };
};

const contend = async ([module, path, ...numbers]) => {
  const [claims, increments, id, all] = numbers.map(Number);
  const { NativeLoader } = await import(module);
  const native = new NativeLoader().load();
  const size = SLOTS + claims;
  const fd = fs.openSync(path, 'r+');
  const request = { size: BigInt(size), fd, offset: 0n, share: true, readonly: false };
  const buffer = native.view(native.mmap(request), size);
  const bytes = new Uint8Array(buffer);
  const words = new Int32Array(buffer, 0, SLOTS / 4);
  let wins = 0;
  Atomics.add(words, READY, 1);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  while (Atomics.load(words, READY) < all) Atomics.wait(pause, 0, 0, 1);
  for (let i = 0; i < claims; i++)
    if (Atomics.compareExchange(bytes, SLOTS + i, 0, id) === 0) wins += 1;
  for (let i = 0; i < increments; i++) {
    while (Atomics.compareExchange(bytes, LOCK, 0, id) !== 0);
    words[COUNTER] += 1;
    Atomics.store(bytes, LOCK, 0);
  }
  process.stdout.write(`${wins}\n`);
};

if (process.argv[1] === fileURLToPath(import.meta.url)) await contend(process.argv.slice(2));
