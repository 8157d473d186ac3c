// Many clients, many subscribers, many objects: what qmemd does as the numbers grow. Each function
// returns plain figures; nothing here judges them.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { WebSocket } from 'ws';
import { Client } from './client.mjs';
import { start } from './programs.mjs';

const MACHINE = ['-M', 'q35', '-nodefaults', '-S'];
const LIMITS = ['--limit', 'clients=2000', '--limit', 'http-connections=5000'];
const STATUS = { execute: 'query-status' };

/** Bytes resident of a process. */
export const resident = (pid) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
/** Long enough for what is closed to be let go. */
export const settle = () => new Promise((resolve) => setTimeout(resolve, 300));

/** The value below which `share` of the samples lie. */
export const percentile = (samples, share) => {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
};

const crowd = async (path, count) => {
  const clients = [];
  for (let i = 0; i < count; i++) {
    const client = await Client.open(path);
    await client.call({ execute: 'qmp_capabilities' });
    clients.push(client);
  }
  return clients;
};

/** Replies per second of all clients together, by number of clients and requests in flight. */
export const crowds = async (dir) => {
  const server = await start('qmemd', dir, [...MACHINE, ...LIMITS]);
  const figures = [];
  for (const count of [1, 8, 64, 300]) {
    const clients = await crowd(server.path, count);
    for (const depth of [1, 8, 64]) {
      const replies = () => clients.reduce((sum, { lines }) => sum + lines, 0);
      const [first, begin] = [replies(), performance.now()];
      await Promise.all(clients.map((client) => client.rate(STATUS, depth, 1500)));
      const total = ((replies() - first) * 1000) / (performance.now() - begin);
      figures.push({ clients: count, depth, perSecond: Math.round(total) });
    }
    for (const client of clients) client.close();
  }
  await server.stop();
  return figures;
};

/** Microseconds from request to reply of one client, while `others` keep one request each going. */
export const latencies = async (dir) => {
  const server = await start('qmemd', dir, [...MACHINE, ...LIMITS]);
  const figures = [];
  for (const others of [0, 63]) {
    const rest = await crowd(server.path, others);
    const busy = rest.map((client) => client.rate(STATUS, 1, 3000));
    const samples = [];
    const end = performance.now() + 2500;
    while (performance.now() < end) {
      const begin = performance.now();
      await server.client.call(STATUS);
      samples.push((performance.now() - begin) * 1000);
    }
    await Promise.all(busy);
    for (const client of rest) client.close();
    const at = (share) => Math.round(percentile(samples, share));
    figures.push({ others, p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) });
  }
  await server.stop();
  return figures;
};

/** How long events take to reach every one of `count` WebSocket subscribers. */
export const fanOut = async (dir, count = 1000, events = 50) => {
  const words = [...MACHINE, ...LIMITS, '-name', 'vm0', '--listen', '127.0.0.1:0'];
  const server = await start('qmemd', dir, words);
  const url = `ws://${await server.address}/machines/vm0/events`;
  let due = 0;
  let reached;
  const sockets = [];
  for (let i = 0; i < count; i++) {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const first = once(socket, 'message');
    await first;
    socket.on('message', () => --due === 0 && reached());
    sockets.push(socket);
  }
  const samples = [];
  for (let i = 0; i < events; i++) {
    due = count;
    const all = new Promise((resolve) => (reached = resolve));
    const begin = performance.now();
    await server.client.call({ execute: 'system_reset' }, 2);
    await all;
    samples.push(performance.now() - begin);
  }
  for (const socket of sockets) socket.terminate();
  await server.stop();
  const p50 = percentile(samples, 0.5);
  return {
    subscribers: count,
    p50Ms: p50,
    p99Ms: percentile(samples, 0.99),
    deliveriesPerSecond: Math.round((count * 1000) / p50),
  };
};

/** Bytes resident for each client and each device, by what many of them add. */
export const residence = async (dir) => {
  const options = [
    '-M',
    'pc',
    '-nodefaults',
    ...LIMITS,
    '-object',
    'memory-backend-ram,id=m,size=1M',
  ];
  const server = await start('qmemd', dir, options);
  await server.client.call(STATUS);
  const idle = resident(server.pid);
  const clients = await crowd(server.path, 500);
  await settle();
  const perClient = (resident(server.pid) - idle) / clients.length;
  for (const client of clients) client.close();
  await settle();
  const before = resident(server.pid);
  let devices = 0;
  for (let slot = 3; slot < 31; slot++)
    for (let port = 7; port >= 0; port--) {
      const addr = `${slot}.${port}`;
      const args = { driver: 'ivshmem-plain', id: `d${slot}-${port}`, memdev: 'm', addr };
      await server.client.call({
        execute: 'device_add',
        arguments: { ...args, multifunction: true },
      });
      devices++;
    }
  await settle();
  const perDevice = (resident(server.pid) - before) / devices;
  await server.stop();
  return { idle, perClient: Math.round(perClient), perDevice: Math.round(perDevice), devices };
};
