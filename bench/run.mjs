// npm run bench: qmemd beside real QEMU and beside the least that Node can do, in one run.
// It measures and reports; it never fails because of a number.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { barWrites } from './bar.mjs';
import { capacityRounds } from './cxl.mjs';
import { crowds, fanOut, latencies, residence } from './load.mjs';
import { manyMachines } from './machines.mjs';
import { pairs, rates, startUps } from './measures.mjs';
import { migrations, printMigrations } from './migration.mjs';
import { available, programs } from './programs.mjs';
import { pools, printPools } from './pools.mjs';
import { qtestRates } from './qtest.mjs';
import { dirtyScans, printState, savedMemory, trackedWrites } from './state.mjs';

const median = (samples) => {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Median of the ratios of samples that were taken next to each other. */
const ratio = (mine, theirs) => median(mine.map((sample, i) => sample / theirs[i]));

const number = (value) =>
  value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toFixed(2);

const row = (what, unit, mine, peer, theirs, target) => ({
  what,
  unit,
  qmemd: median(mine),
  peer: programs[peer].label,
  figure: median(theirs),
  ratio: ratio(mine, theirs),
  target,
});

/** Rows for every peer that was measured. */
const compare = (what, unit, samples, targets) =>
  Object.entries(targets).flatMap(([peer, target]) =>
    samples[peer]?.length > 0 ? [row(what, unit, samples.qmemd, peer, samples[peer], target)] : [],
  );

const rateRows = (samples) => [
  ...compare('query-status, one at a time', '/s', samples['status-1'], {
    qemu: '>= 2.5',
    bare: '>= 0.85',
    qmemdWithoutNative: '-',
  }),
  ...compare('query-status, 8 in flight', '/s', samples['status-8'], {
    qemu: '>= 8',
    bare: '-',
    qmemdWithoutNative: '-',
  }),
  ...compare('query-status, 64 in flight', '/s', samples['status-64'], {
    qemu: '-',
    bare: '>= 0.5, or 100,000/s',
    qmemdWithoutNative: '-',
  }),
  ...compare('query-qmp-schema', '/s', samples['schema'], {
    qemu: '>= 30',
    qmemdWithoutNative: '-',
  }),
];

const qtestRows = (samples) => [
  ...compare('qtest readl of a register, one at a time', '/s', samples['register-1'], {
    bare: '>= 0.85',
    qemu: '-',
  }),
  ...compare('qtest readl of a register, 64 in flight', '/s', samples['register-64'], {
    qemu: '>= 1',
    bare: '>= 0.5',
  }),
  ...compare('qtest read of 1 MiB', '/s', samples.read, { qemu: '>= 1' }),
  ...compare('qtest write of 1 MiB', '/s', samples.write, { qemu: '>= 1' }),
];

const barRows = (samples) =>
  Object.entries(samples).map(([memory, { bar, copy }]) => ({
    what: `1 MiB blocks through a BAR into ${memory}`,
    unit: 'MiB/s',
    qmemd: median(bar),
    peer: 'Buffer.copy',
    figure: median(copy),
    ratio: ratio(bar, copy),
    target: '>= 0.5',
  }));

const stateRows = (samples) =>
  samples === undefined
    ? []
    : ['file', 'memfd'].flatMap((memory) =>
        ['save', 'load'].map((what) => ({
          what: `device-${what} of 1 GiB, memory in a ${memory}`,
          unit: 'MiB/s',
          qmemd: median(samples[memory][what]),
          peer: 'cp',
          figure: median(samples.cp),
          ratio: ratio(samples[memory][what], samples.cp),
          target: '>= 0.5',
        })),
      );

const pairRow = (thousands) => ({
  what: '10 000 device_add + unplug: last thousand against first',
  unit: 'ms',
  qmemd: thousands.at(-1),
  peer: 'first thousand',
  figure: thousands[0],
  ratio: thousands.at(-1) / thousands[0],
  target: '<= 1',
});

const print = (rows) => {
  const cells = rows.map((r) => [
    r.what,
    `${number(r.qmemd)} ${r.unit}`,
    r.peer,
    `${number(r.figure)} ${r.unit}`,
    r.ratio.toFixed(2),
    r.target,
  ]);
  const table = [['measure', 'qmemd', 'peer', 'its figure', 'ratio', 'wanted'], ...cells];
  const widths = table[0].map((_, i) => Math.max(...table.map((line) => line[i].length)));
  for (const line of table) console.log(line.map((cell, i) => cell.padEnd(widths[i])).join('  '));
};

const KiB = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;

const printMachines = ({ figures, perMachine }) => {
  console.log('query-status among many machines, microseconds');
  for (const { machines, readyMs, p50, p99, bytes } of figures)
    console.log(
      `  ${machines}: p50 ${p50}, p99 ${p99}, ${KiB(bytes)} resident, up after ${number(readyMs)} ms`,
    );
  console.log(`  a machine ${KiB(perMachine)}`);
};

const printCapacity = (figures) => {
  console.log('dynamic capacity, rounds of add, accept and release over one connection');
  for (const { others, perSecond } of figures)
    console.log(`  ${others} other extents accepted: ${number(perSecond)} /s`);
};

/** qmemd alone, as the numbers grow. */
const printLoad = ({
  crowds,
  latencies,
  fanOut,
  residence,
  machines,
  capacity,
  pools,
  migration,
  state,
}) => {
  console.log('\nqmemd, query-status, replies/s of all clients together');
  for (const { clients, depth, perSecond } of crowds)
    console.log(`  ${clients} clients, ${depth} in flight each: ${number(perSecond)} /s`);
  console.log('microseconds from request to reply');
  for (const { others, p50, p90, p99, p999 } of latencies)
    console.log(`  ${others} busy others: p50 ${p50}, p90 ${p90}, p99 ${p99}, p99.9 ${p999}`);
  const { subscribers, p50Ms, p99Ms, deliveriesPerSecond } = fanOut;
  console.log(`an event to ${subscribers} WebSocket subscribers, the last of them`);
  console.log(
    `  p50 ${number(p50Ms)} ms, p99 ${number(p99Ms)} ms, ${number(deliveriesPerSecond)} /s`,
  );
  const { idle, perClient, perDevice, devices } = residence;
  console.log('resident memory');
  console.log(
    `  idle ${KiB(idle)}, a client ${KiB(perClient)}, a device ${KiB(perDevice)} (${devices})`,
  );
  printMachines(machines);
  printCapacity(capacity);
  printPools(pools);
  printMigrations(migration);
  printState(state);
};

const main = async () => {
  const names = available();
  if (!names.includes('qmemd')) throw new Error('dist/bin/qmemd.js is missing: npm run build');
  if (!names.includes('qemu'))
    console.log('qemu-system-x86_64 is not installed: no ratios against it');
  const dir = mkdtempSync(join(tmpdir(), 'qmemd-bench-'));
  try {
    const rows = rateRows(await rates(names, dir, 7));
    const starting = names.filter((name) => name !== 'qmemdWithoutNative');
    const startUp = await startUps(starting, dir, 15);
    rows.push(...compare('start to greeting', 'ms', startUp, { bare: '<= 1.5', qemu: '-' }));
    const thousands = await pairs(dir, 10);
    rows.push(pairRow(thousands));
    const guests = names.filter((name) => name !== 'qmemdWithoutNative');
    rows.push(...qtestRows(await qtestRates(guests, dir, 7)));
    rows.push(...barRows(await barWrites(dir, 7)));
    rows.push(...stateRows(await savedMemory(dir, 5)));
    print(rows);
    const load = {
      crowds: await crowds(dir),
      latencies: await latencies(dir),
      fanOut: await fanOut(dir),
      residence: await residence(dir),
      machines: await manyMachines(dir),
      capacity: await capacityRounds(dir),
      pools: await pools(dir),
      migration: await migrations(),
      state: { scans: dirtyScans(), writes: trackedWrites() },
    };
    printLoad(load);
    const machine = {
      node: process.version,
      cpu: cpus()[0]?.model,
      cores: cpus().length,
      load: loadavg()[0],
    };
    const results = { at: new Date().toISOString(), machine, rows, thousandsMs: thousands, load };
    writeFileSync(
      new URL('results.json', import.meta.url),
      `${JSON.stringify(results, null, 2)}\n`,
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

await main();
