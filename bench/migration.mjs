// Migration between two daemons: how long the machine stands still, against how fast it writes, and
// bytes in a second beside `cp` of as many. Run alone or by run.mjs.
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DAEMON = fileURLToPath(new URL('../dist/bin/qmemd.js', import.meta.url));
const MIB = 256;
const PAGE = 4096;
/** Pages that the driver writes in a second. */
const RATES = [0, 1000, 5000, 20_000];
const TICK_MS = 5;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const dial = async (path) => {
  for (;;) {
    const socket = connect(path);
    const is = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    if (is) return socket.on('error', () => undefined);
    await pause(5);
  }
};

/** One line out, one line back; events are passed over. */
class Lines {
  #socket;
  #rest = '';
  #waiting = [];
  constructor(socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop();
      for (const line of lines) if (!line.startsWith('{"timestamp"')) this.#waiting.shift()?.(line);
    });
  }
  line() {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
  ask(text) {
    this.#socket.write(`${text}\n`);
    return this.line();
  }
  async run(execute, args = {}) {
    return JSON.parse(await this.ask(JSON.stringify({ execute, arguments: args }))).return;
  }
}

const daemon = async (dir, name, more) => {
  const [qmpPath, qtestPath] = [join(dir, `${name}.qmp`), join(dir, `${name}.qtest`)];
  const child = spawn(
    process.execPath,
    [
      ...[DAEMON, '-M', 'none', '-m', `${MIB}M`, '-machine', 'memory-backend=m'],
      ...['-object', `memory-backend-memfd,id=m,size=${MIB}M`],
      ...['-qmp', `unix:${qmpPath},server=on,wait=off`],
      ...['-qtest', `unix:${qtestPath},server=on,wait=off`, ...more],
    ],
    { stdio: 'ignore' },
  );
  const socket = await dial(qmpPath);
  const qmp = new Lines(socket);
  await qmp.line();
  await qmp.run('qmp_capabilities');
  await qmp.run('query-status');
  const guest = await dial(qtestPath);
  const stop = async () => {
    const exited = new Promise((resolve) => child.once('exit', resolve));
    socket.destroy();
    guest.destroy();
    child.kill('SIGKILL');
    await exited;
  };
  return { qmp, qtest: new Lines(guest), stop };
};

/** Writes to so many pages in a second until it is refused. @returns pages written in a second */
const writeAt = async (qtest, pagesPerSecond) => {
  const since = performance.now();
  let done = 0;
  for (;;) {
    const due = ((performance.now() - since) / 1000) * pagesPerSecond;
    while (done < due) {
      const page = Math.floor(Math.random() * ((MIB << 20) / PAGE));
      if ((await qtest.ask(`writeq ${page * PAGE} ${done}`)) !== 'OK')
        return (done * 1000) / (performance.now() - since);
      done++;
    }
    await pause(TICK_MS);
    if (pagesPerSecond === 0) return 0;
  }
};

const once = async (dir, round, pagesPerSecond) => {
  const uri = `unix:${join(dir, `move${round}`)}`;
  const b = await daemon(dir, `b${round}`, ['-incoming', uri]);
  const a = await daemon(dir, `a${round}`, []);
  try {
    for (let at = 0; at < MIB; at += 32) await a.qtest.ask(`memset ${at << 20} ${32 << 20} 0x5a`);
    await a.qmp.run('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 });
    const writing = writeAt(a.qtest, pagesPerSecond);
    await pause(100);
    await a.qmp.run('migrate', { uri });
    for (;;) {
      await pause(20);
      const info = await a.qmp.run('query-migrate');
      if (!['completed', 'failed'].includes(info.status)) continue;
      if (info.status === 'failed') throw new Error(info['error-desc']);
      return {
        wanted: pagesPerSecond,
        written: Math.round(await writing),
        passes: info.ram['dirty-sync-count'],
        downtimeMs: info.downtime,
        totalMs: info['total-time'],
        bytesPerSecond: (info.ram.transferred * 1000) / (info['total-time'] - info['setup-time']),
      };
    }
  } finally {
    await a.stop();
    await b.stop();
  }
};

/** Bytes in a second of `cp` in memory, its start left out. */
const copyRate = (dir) => {
  const from = join(dir, 'from');
  execFileSync('dd', ['if=/dev/urandom', `of=${from}`, 'bs=1M', `count=${MIB}`], {
    stdio: 'ignore',
  });
  const times = [];
  for (let i = 0; i < 5; i++) {
    const since = performance.now();
    copyFileSync(from, join(dir, 'to'));
    times.push(performance.now() - since);
    rmSync(join(dir, 'to'));
  }
  rmSync(from);
  return ((MIB << 20) * 1000) / times.sort((x, y) => x - y)[2];
};

export const migrations = async () => {
  const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'qmemd-bench-'));
  try {
    const rounds = [];
    for (const [round, rate] of RATES.entries()) rounds.push(await once(dir, round, rate));
    const copied = copyRate(dir);
    return { mib: MIB, rounds, copied, ratio: rounds[0].bytesPerSecond / copied };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

export const printMigrations = ({ mib, rounds, copied, ratio }) => {
  console.log(`migration of ${mib} MiB, by the pages that a driver writes in a second`);
  for (const { wanted, written, passes, downtimeMs, totalMs } of rounds)
    console.log(
      `  ${wanted}: ${written} written, ${passes} passes, downtime ${downtimeMs} ms of ${totalMs} ms`,
    );
  const MiB = (bytes) => Math.round(bytes / 2 ** 20);
  console.log(
    `  ${MiB(rounds[0].bytesPerSecond)} MiB/s; cp in memory ${MiB(copied)} MiB/s, ratio ${ratio.toFixed(2)}`,
  );
};

if (process.argv[1] === fileURLToPath(import.meta.url)) printMigrations(await migrations());
