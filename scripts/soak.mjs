// npm run soak: what takes too long for npm test, at its full counts. Prints a figure for each part
// and exits 1 if one fails. Minutes.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { raceForClaims } from './claim-race.mjs';
import { raceForBlocks } from './pool-race.mjs';

const ROOT = new URL('..', import.meta.url).pathname;
const DAEMON = join(ROOT, 'dist/bin/qmemd.js');
const LOADER = `--import=${new URL('../test/loader/register.mjs', import.meta.url).href}`;
/** A part may take so long. */
const PATIENCE_S = 7200;
const has = (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;

/** A QMP client that pipelines and counts; `lost` tells when the server has gone. */
const dial = (path) =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    const client = { socket, lines: 0, wanted: [], closed: false };
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.on('error', () => undefined);
      resolve(client);
    });
    let rest = '';
    socket.setEncoding('latin1');
    socket.on('data', (text) => {
      const parts = (rest + text).split('\r\n');
      rest = parts.pop();
      for (const part of parts) receive(client, part);
    });
    socket.on('close', () => {
      client.closed = true;
      for (const wake of client.wanted.splice(0)) wake.done();
    });
  });
const receive = (client, line) => {
  client.lines += 1;
  for (const [i, wake] of client.wanted.entries())
    if (wake.texts.some((text) => line.includes(text))) {
      client.wanted.splice(i, 1);
      wake.done(line);
      return;
    }
};
/** The next line with one of `texts` in it; undefined when the server has gone. */
const wait = (client, ...texts) =>
  client.closed
    ? Promise.resolve(undefined)
    : new Promise((done) => client.wanted.push({ texts, done }));
const run = (client, command, args = {}) => {
  const reply = wait(client, '"return"', '"error"');
  client.socket.write(JSON.stringify({ execute: command, arguments: args }));
  return reply;
};

const start = (words) => spawn(process.execPath, [DAEMON, ...words], { stdio: 'ignore' });
const greeted = async (path) => {
  for (let tries = 0; tries < 400; tries++) {
    try {
      const client = await dial(path);
      await wait(client, '"QMP"');
      await run(client, 'qmp_capabilities');
      return client;
    } catch {
      // Not listening yet.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  throw new Error('the daemon did not come up');
};

/** Kills the daemon in the middle of work, again and again; the next one must start on what is left. */
const killTest = async (rounds) => {
  const folder = mkdtempSync(join(tmpdir(), 'qmemd-soak-'));
  const socket = join(folder, 'qmp.sock');
  const memory = join(folder, 'mem');
  spawnSync('truncate', ['-s', '64M', memory]);
  const device = `dynamic-mdevice,id=d,size=64M,align=4K,mem-path=${memory}`;
  const words = ['-M', 'pc', '-qmp', `unix:${socket},server=on,wait=off`, '-device', device];
  for (let round = 0; round < rounds; round++) {
    const child = start(words);
    const exited = new Promise((resolve) => child.once('exit', resolve));
    const client = await greeted(socket);
    for (let i = 0; i < 50; i++)
      client.socket.write(
        JSON.stringify({
          execute: i % 2 === 0 ? 'mem-attach' : 'mem-detach',
          arguments: { id: 'd', ...(i % 2 === 0 ? { size: 4096, offset: 4096 * i } : {}) },
        }),
      );
    await new Promise((resolve) => setTimeout(resolve, round % 20));
    child.kill('SIGKILL');
    await exited;
    client.socket.destroy();
  }
  const left = readdirSync(folder).sort().join(' ');
  rmSync(folder, { recursive: true });
  if (left !== 'mem qmp.sock') throw new Error(`left behind: ${left}`);
  return `${rounds} kills in the middle of attachments, each followed by a clean start`;
};

/** Devices that come and go; the process must not grow. */
const churn = async (pairs) => {
  const folder = mkdtempSync(join(tmpdir(), 'qmemd-soak-'));
  const socket = join(folder, 'qmp.sock');
  const child = start([
    ...['-M', 'pc,guest-policy=accept', '-qmp', `unix:${socket},server=on,wait=off`],
  ]);
  const client = await greeted(socket);
  const open = () => readdirSync(`/proc/${child.pid}/fd`).length;
  const before = open();
  const add = { driver: 'dynamic-mdevice', id: 'd', align: 4096, 'mem-path': '/dev/zero' };
  for (let i = 0; i < pairs; i++) {
    const deleted = wait(client, 'DEVICE_DELETED');
    await run(client, 'device_add', add);
    await run(client, 'mem-attach', { id: 'd', size: 4096, offset: 0 });
    await run(client, 'device_del', { id: 'd' });
    await deleted;
  }
  const after = open();
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await run(client, 'quit');
  const status = await exited;
  rmSync(folder, { recursive: true });
  if (after > before) throw new Error(`${after - before} descriptors leaked`);
  if (status !== 0) throw new Error(`exit status ${status}`);
  return `${pairs} devices added, attached to and unplugged; descriptors ${before} before, ${after} after`;
};

const race = async (count) => {
  const { lostClaims, lostIncrements, wins } = await raceForClaims({
    native: new URL('../dist/server/os/native.js', import.meta.url),
    claims: count,
    increments: count,
    directory: existsSync('/dev/shm') ? '/dev/shm' : tmpdir(),
    c: has('gcc'),
  });
  if (lostClaims + lostIncrements > 0)
    throw new Error(`lost ${lostClaims} claims, ${lostIncrements} increments`);
  return `${count} claims and increments by ${wins.length} processes, none lost (${wins.join(' + ')})`;
};

const blockRace = async (operations) => {
  const { wins, doubles, owned, left } = await raceForBlocks({
    dist: new URL('../dist/', import.meta.url),
    operations,
    heads: 3,
    directory: existsSync('/dev/shm') ? '/dev/shm' : tmpdir(),
    c: has('gcc'),
  });
  if (doubles > 0) throw new Error(`${doubles} blocks had two owners`);
  if (owned > 0 || left) throw new Error('blocks or the state object were left behind');
  return `${operations} claims by each of ${wins.length} processes, ${wins.join(' + ')} won, no block owned twice`;
};

/** Test files with more runs than npm test gives them, each in a process of its own. */
const tests = (files, env) => {
  const sums = files.map((file) => {
    const { status, stdout } = spawnSync(process.execPath, [LOADER, file], {
      cwd: ROOT,
      env: { ...process.env, TAP_TIMEOUT: String(PATIENCE_S), ...env },
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    const sum = /^# \{ (total: .*) \}$/m.exec(stdout)?.[1] ?? 'no sum printed';
    const comment = stdout.match(/^ *# (?!Subtest|time=|\{).*$/gm) ?? [];
    if (status !== 0) throw new Error(`${file}: ${sum}\n${failuresOf(stdout)}`);
    return [`${file}: ${sum}`, ...comment.map((line) => line.trim())].join('\n        ');
  });
  return `${Object.entries(env).join(' ').replaceAll(',', '=')}\n      ${sums.join('\n      ')}`;
};
/** What a test printed of its first failure. */
const failuresOf = (tap) => tap.slice(tap.search(/^ *not ok/m)).slice(0, 2000);

const PARTS = {
  'kill -9': () => killTest(100),
  churn: () => churn(20_000),
  'claim race': () => race(1_000_000),
  'pool race': () => blockRace(2_500_000),
  'CXL dynamic capacity': () =>
    tests(['test/devices/cxl/invariants.test.ts'], { CXL_RUNS: '5000' }),
  'CXL saved state': () =>
    tests(['test/devices/cxl/saved-state.test.ts'], { CXL_STATE_RUNS: '5000' }),
  'CXL routing': () => tests(['test/devices/cxl/routing.test.ts'], { QMEMD_ROUTING_RUNS: '3000' }),
  'pool heads killed': () => tests(['test/devices/cxl-mhsld/chaos.test.ts'], { POOL_KILLS: '200' }),
  'pool head migration': () =>
    tests(['test/devices/cxl-mhsld/migration.test.ts'], { HEAD_KILLS: '200' }),
  'migration 4 GiB': () =>
    tests(['test/server/migration/traffic.test.ts'], {
      MIGRATION_MIB: '4096',
      MIGRATION_FAILURES: '0',
    }),
  'migration failures': () =>
    tests(['test/server/migration/traffic.test.ts'], { MIGRATION_FAILURES: '100' }),
  'mutated streams': () =>
    tests(['test/server/migration/mutants.test.ts'], {
      MIGRATION_MUTANTS: '1000000',
      MIGRATION_SEED: String(Date.now() % 1_000_000),
    }),
  'CXL registers': () => tests(['test/devices/cxl/fuzz.test.ts'], { CXL_FUZZ_RUNS: '3000' }),
  'device state round trip': () =>
    tests(['test/devices/state-round-trip.test.ts'], { QMEMD_STATE_LIVES: '60' }),
  'damaged device state': () =>
    tests(['test/devices/state-contract.test.ts'], { QMEMD_STATE_MUTATIONS: '2000' }),
  'native layer': () => tests(['test/server/os/native.test.ts'], { QMEMD_SOAK_SCALE: '10' }),
  'fuzzed commands': () => tests(['test/server/fuzz.test.ts'], { FUZZ_RUNS: '5000' }),
  'fuzzed bytes': () =>
    tests(['test/conformance/qemu.test.ts', 'test/server/framing/stream.test.ts'], {
      FUZZ_RUNS: '10000',
    }),
  'made-up requests': () =>
    tests(['test/side-by-side/side-by-side.test.ts'], { SEED: String(Date.now() % 1_000_000) }),
  load: () =>
    tests(['test/load/load.test.ts'], {
      LOAD_COMMANDS: '1000',
      LOAD_SUBSCRIBERS: '1000',
      LOAD_EVENTS: '1000',
    }),
  doorbells: () => tests(['test/server/ivshmem/peers.test.ts'], { IVSHMEM_ROUNDS: '100000' }),
  'fuzzed accesses': () => tests(['test/load/fuzz-qtest.test.ts'], { QTEST_LINES: '1000000' }),
  'mutated state files': () =>
    [0, 1, 2, 3]
      .map(() => Math.floor(Math.random() * 1_000_000))
      .map((seed) =>
        tests(['test/server/state-files/mutations.test.ts'], {
          STATE_MUTATIONS: '250000',
          SEED: String(seed),
        }),
      )
      .join('; '),
  'fuzzed chunks': () => tests(['test/load/fuzz-bytes.test.ts'], { FUZZ_CHUNKS: '500000' }),
};

const wanted = process.argv.slice(2);
for (const [name, part] of Object.entries(PARTS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const since = Date.now();
  try {
    const figure = await part();
    console.log(`ok    ${name}: ${figure} [${((Date.now() - since) / 1000).toFixed(0)} s]`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAIL  ${name}: ${error.message}`);
  }
}
