// The guest side: the qtest protocol beside real QEMU and beside the least that Node can do.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from './client.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const MACHINE = ['-M', 'q35', '-nodefaults', '-S'];
const DEVICE = [
  ...['-object', 'memory-backend-ram,id=m1,size=4M'],
  ...['-device', 'ivshmem-plain,id=iv,memdev=m1,addr=4'],
];
/** Configuration writes that map BAR0 at 0xe0000000 and BAR2 at 0xe1000000. */
const SET_UP = [
  [0x10, 0xe000_0000],
  [0x18, 0xe100_0000],
  [0x04, 0x0002],
];
const REGISTER = 0xe000_0000;
const MEMORY = 0xe100_0000;
const BULK = 1 << 20;

const listening = (path) => ['-qtest', `unix:${path},server=on,wait=off`, '-qtest-log', 'none'];
const COMMANDS = {
  qemu: (path) => [
    ...['qemu-system-x86_64', '-display', 'none', '-accel', 'tcg'],
    ...[...MACHINE, ...DEVICE, ...listening(path)],
  ],
  qmemd: (path) => [
    ...[process.execPath, join(here, '../dist/bin/qmemd.js')],
    ...[...MACHINE, ...DEVICE, ...listening(path)],
  ],
  bare: (path) => [process.execPath, join(here, 'qtest-floor.mjs'), path],
};

const hex = (value) => `0x${value.toString(16)}`;

const start = async (name, dir) => {
  const path = join(dir, `qtest-${name}.sock`);
  const [command, ...rest] = COMMANDS[name](path);
  const child = spawn(command, rest, { stdio: ['ignore', 'ignore', 'inherit'] });
  let running = true;
  const gone = new Promise((resolve) => child.once('close', resolve)).then(() => (running = false));
  const client = await Client.open(path, { alive: () => running, greets: false });
  for (const [register, value] of SET_UP) {
    await client.line(`outl 0xcf8 ${hex(0x8000_2000 + register)}`);
    await client.line(`outl 0xcfc ${hex(value)}`);
  }
  const stop = async () => {
    client.close();
    child.kill('SIGKILL');
    await gone;
  };
  return { name, client, stop };
};

const WRITE = `write ${hex(MEMORY)} ${hex(BULK)} 0x${'5a'.repeat(BULK)}\n`;

/** Requests, how many in flight, for how long; `bytes` moved by each. */
const WORKLOADS = [
  { key: 'register-1', text: `readl ${hex(REGISTER)}\n`, inFlight: 1, ms: 400 },
  { key: 'register-64', text: `readl ${hex(REGISTER)}\n`, inFlight: 64, ms: 400 },
  { key: 'read', text: `read ${hex(MEMORY)} ${hex(BULK)}\n`, inFlight: 1, ms: 600, bulk: true },
  { key: 'write', text: WRITE, inFlight: 1, ms: 600, bulk: true },
];

/**
 * Replies per second by workload and program, the programs taking turns.
 *
 * @param {readonly string[]} names of `qmemd`, `qemu`, `bare`
 */
export const qtestRates = async (names, dir, rounds) => {
  const servers = [];
  for (const name of names) servers.push(await start(name, dir));
  const samples = Object.fromEntries(
    WORKLOADS.map(({ key }) => [key, Object.fromEntries(names.map((name) => [name, []]))]),
  );
  for (const { client } of servers) await client.rate(WORKLOADS[0].text, 8, 300);
  for (let round = 0; round < rounds; round++)
    for (const { key, text, inFlight, ms, bulk } of WORKLOADS)
      for (const { name, client } of servers)
        if (name !== 'bare' || !bulk)
          samples[key][name].push(await client.rate(text, inFlight, ms));
  for (const { stop } of servers) await stop();
  return samples;
};
