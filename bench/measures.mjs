// What is measured. Each function returns samples by program; nothing here judges them.
import { start } from './programs.mjs';

const MACHINE = ['-M', 'q35', '-nodefaults', '-S'];

/** The workloads that run on a connection kept open: requests, how many in flight, for how long. */
export const WORKLOADS = [
  { key: 'status-1', execute: 'query-status', inFlight: 1, ms: 400 },
  { key: 'status-8', execute: 'query-status', inFlight: 8, ms: 400 },
  { key: 'status-64', execute: 'query-status', inFlight: 64, ms: 400 },
  { key: 'schema', execute: 'query-qmp-schema', inFlight: 1, ms: 400 },
];

/**
 * Replies per second, `rounds` times, the programs taking turns so that noise meets all alike.
 *
 * @returns {Promise<Record<string, Record<string, number[]>>>} samples by workload and program
 */
export const rates = async (names, dir, rounds) => {
  const servers = [];
  for (const name of names) servers.push({ name, ...(await start(name, dir, MACHINE)) });
  const samples = Object.fromEntries(
    WORKLOADS.map(({ key }) => [key, Object.fromEntries(names.map((name) => [name, []]))]),
  );
  for (const { client } of servers) await client.rate({ execute: 'query-status' }, 8, 300);
  for (let round = 0; round < rounds; round++) {
    for (const { key, execute, inFlight, ms } of WORKLOADS) {
      for (const { name, client } of servers) {
        if (key === 'schema' && name === 'bare') continue;
        samples[key][name].push(await client.rate({ execute }, inFlight, ms));
      }
    }
  }
  for (const { stop } of servers) await stop();
  return samples;
};

/** Milliseconds from spawn to the first line received. */
export const startUps = async (names, dir, rounds) => {
  const samples = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const { greetingMs, stop } = await start(name, dir, MACHINE);
      samples[name].push(greetingMs);
      await stop();
    }
  }
  return samples;
};

/** Milliseconds per thousand pairs of device_add and device_del, the guest side letting go at once. */
export const pairs = async (dir, thousands) => {
  const backend = ['-object', 'memory-backend-ram,id=m1,size=1M'];
  const options = ['-M', 'pc,guest-policy=accept', '-nodefaults', ...backend];
  const { client, stop } = await start('qmemd', dir, options);
  const driver = { driver: 'ivshmem-plain', id: 'd', memdev: 'm1' };
  const add = { execute: 'device_add', arguments: driver };
  const del = { execute: 'device_del', arguments: { id: 'd' } };
  const samples = [];
  for (let thousand = 0; thousand < thousands; thousand++) {
    const begin = performance.now();
    for (let i = 0; i < 1000; i++) {
      await client.call(add);
      await client.call(del, 2); // its reply, then DEVICE_DELETED
    }
    samples.push(performance.now() - begin);
  }
  await stop();
  return samples;
};
