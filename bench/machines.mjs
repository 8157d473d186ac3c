// What a machine costs when there are many of them in one daemon.
import { join } from 'node:path';
import { Client } from './client.mjs';
import { percentile, resident, settle } from './load.mjs';
import { startMany } from './programs.mjs';

const STATUS = { execute: 'query-status' };

/** Milliseconds from spawn to the first answer, microseconds of a command, bytes resident. */
const among = async (dir, count) => {
  const machines = Array.from({ length: count }, (_, i) => ({
    name: `m${i}`,
    machine: 'q35',
    defaults: false,
    monitors: [{ path: join(dir, `many${count}-${i}.sock`) }],
  }));
  const begin = performance.now();
  const server = await startMany(dir, machines);
  await server.client.call(STATUS);
  const readyMs = performance.now() - begin;
  // Commands meet machines from the first to the last, as clients of all of them would.
  const clients = [server.client];
  for (let i = 1; i < Math.min(count, 20); i++) {
    const at = Math.floor((i * count) / 20);
    clients.push(await Client.open(machines[at].monitors[0].path));
    await clients.at(-1).call({ execute: 'qmp_capabilities' });
  }
  const samples = [];
  for (let i = 0; i < 4000; i++) {
    const sent = performance.now();
    await clients[i % clients.length].call(STATUS);
    samples.push((performance.now() - sent) * 1000);
  }
  await settle();
  const bytes = resident(server.pid);
  for (const client of clients) client.close();
  await server.stop();
  const at = (share) => Math.round(percentile(samples.slice(1000), share));
  return { machines: count, readyMs: Math.round(readyMs), p50: at(0.5), p99: at(0.99), bytes };
};

/** The same among 1, 100 and 1000 machines, and what each one adds to resident memory. */
export const manyMachines = async (dir) => {
  const figures = [];
  for (const count of [1, 100, 1000]) figures.push(await among(dir, count));
  const [first, last] = [figures[0], figures.at(-1)];
  const perMachine = Math.round((last.bytes - first.bytes) / (last.machines - first.machines));
  return { figures, perMachine };
};
