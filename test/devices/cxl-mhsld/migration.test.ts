import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { eventually, privateFolder } from '../../support/daemon.js';
import { needsNative } from '../../support/mdevice.js';
import { spawnHost, type PoolHost } from '../../support/pool-host.js';
import { CXL_PORTS, OWNERS_AT, poolName, SHARED_OBJECTS } from '../../support/pools.js';
import type { Qmp } from '../../support/qmp.js';

/** Rounds in which one of the two is killed; 5 in `npm test`, more in `npm run soak`. */
const KILLS = Number(process.env['HEAD_KILLS'] ?? 5);
const BLOCKS = 8192;
const MOVES_AT = 10;
const PATIENCE_MS = 5000;

/** Where a move stands, as its journal byte in the state object says. */
const PHASE = { none: 0, waiting: 1, given: 2, taken: 3 } as const;

/** Reads the state object again and again, much faster than a host does anything. */
class Watcher {
  readonly #fd: number;
  readonly #bytes = Buffer.alloc(OWNERS_AT + BLOCKS);
  readonly #allowed: ReadonlySet<number>;
  /** Sightings of a block that had none of its two owners, or both. */
  wrong = 0;
  looks = 0;

  constructor(t: Test, name: string, allowed: readonly number[]) {
    this.#fd = openSync(join(SHARED_OBJECTS, name), 'r');
    t.teardown(() => closeSync(this.#fd));
    this.#allowed = new Set(allowed);
  }

  get phase(): number {
    readSync(this.#fd, this.#bytes, 0, OWNERS_AT, 0);
    return (this.#bytes[MOVES_AT] ?? 0) >> 6;
  }
  /** Which owner masks there are now. */
  look(): Set<number> {
    readSync(this.#fd, this.#bytes, 0, this.#bytes.length, 0);
    this.looks++;
    const masks = this.#bytes.subarray(OWNERS_AT);
    // All alike: told at once, which is what makes the next look come soon.
    const isUniform = masks.subarray(1).equals(masks.subarray(0, -1));
    const seen = new Set(isUniform ? masks.subarray(0, 1) : masks);
    for (const mask of seen) if (!this.#allowed.has(mask)) this.wrong++;
    return seen;
  }
  /** Looks, and lets nothing else of this process run, for a time. */
  spin(ms: number): void {
    const end = performance.now() + ms;
    while (performance.now() < end) this.look();
  }
  /** Looks until a move is in this phase, or one is over. */
  spinUntil(phase: number): void {
    const end = performance.now() + PATIENCE_MS;
    for (let most = 0; most < phase && performance.now() < end;) {
      this.look();
      const now = this.phase;
      if (now < most) return;
      most = now;
    }
  }
}

interface Pool {
  readonly name: string;
  readonly start: (head: number, incoming?: boolean) => Promise<PoolHost>;
  readonly uri: string;
}

/** Hosts of one pool of 16 GiB that share a file. */
const startPool = (t: Test): Pool => {
  const name = poolName(t);
  const folder = privateFolder(t);
  const start = (head: number, incoming = false): Promise<PoolHost> =>
    spawnHost(t, [
      ...CXL_PORTS,
      ...['-object', `memory-backend-file,id=dc,size=16G,mem-path=${folder}/memory,share=on`],
      ...(incoming ? ['-incoming', 'defer'] : []),
      '-device',
      `cxl-mhsld,id=h,bus=rp0,num-dc-regions=1,volatile-dc-memdev=dc,mhd-state_file=${name},mhd-head=${String(head)},mhd-init=true,mhd-adopt=true`,
    ]);
  return { name, start, uri: `unix:${folder}/migrate.sock` };
};
const GiB = 1024;
const all = async (host: PoolHost): Promise<string> =>
  (await host.info()).accepted.map(({ len }) => String(len >> 30n)).join(' ');
const statusOf = async (qmp: Qmp, command: string): Promise<string> =>
  String(((await qmp.execute(command)) as { status?: string }).status);
const isOver = (status: string): boolean => status === 'completed' || status === 'failed';
/** How a migration ended for one side; `gone` when its process did. */
const outcome = async (host: PoolHost): Promise<string> => {
  let status = '';
  await eventually('the end of a migration', async () => {
    status = await statusOf(host.qmp, 'query-migrate').catch(() => 'gone');
    return isOver(status) || status === 'gone';
  });
  return status;
};

/** Starts the migration of one host to another. */
const migrate = async (source: PoolHost, destination: PoolHost, uri: string): Promise<void> => {
  await destination.qmp.execute('migrate-incoming', { uri });
  await source.qmp.execute('migrate', { uri });
};

t.test('a head migrates to another process, and back', needsNative, async (t) => {
  const { name, start, uri } = startPool(t);
  const source = await start(0);
  t.equal(await source.add([0, 15 * GiB]), 'ok');
  t.equal(await source.acceptAll(), '');
  t.equal(await source.add([15 * GiB, GiB]), 'ok');
  let from = source;
  for (const [before, to] of [
    [0, 1],
    [1, 0],
    [0, 0],
  ] as const) {
    const destination = await start(to, true);
    const watcher = new Watcher(t, name, [1 << before, 1 << to]);
    await migrate(from, destination, uri);
    watcher.spinUntil(PHASE.taken);
    t.equal(await outcome(from), 'completed');
    t.equal(await outcome(destination), 'completed');
    t.strictSame([...watcher.look()], [1 << to]);
    t.equal(watcher.phase, PHASE.none);
    t.equal(watcher.wrong, 0);
    t.comment(`${String(watcher.looks)} looks at the map`);
    t.strictSame(await from.info(), { ...(await from.info()), accepted: [], pending: [] });
    t.equal(await all(destination), '15');
    await from.end();
    t.strictSame([...watcher.look()], [1 << to], 'nothing was freed with it');
    from = destination;
  }
  t.equal(await from.acceptAll(), '');
  t.equal(await all(from), '15 1');
});

/** Which head has all blocks, and the host that it is; undefined when that is dead. */
interface Owner {
  readonly host: PoolHost | undefined;
  readonly head: number;
}

/**
 * Kills one of two hosts while a head migrates, and checks who has what.
 *
 * @returns who has it, and how the migration ended for the one that lives
 */
const killRound = async (
  t: Test,
  { name, start, uri }: Pool,
  { host: source, head }: { host: PoolHost; head: number },
  { to, victim }: { to: number; victim: 'source' | 'destination' },
): Promise<{ readonly owner: Owner; readonly end: string }> => {
  const destination = await start(to, true);
  const watcher = new Watcher(t, name, [1 << head, 1 << to]);
  // Half of the time in the moments that matter, half of the time at any.
  const phase = Math.random() < 0.5 ? Math.floor(Math.random() * 3) + 1 : PHASE.none;
  const delay = Math.random() * (phase === PHASE.none ? 50 : 0.5);
  await migrate(source, destination, uri);
  if (phase === PHASE.none)
    await eventually('a connection', async () => {
      return (await statusOf(destination.qmp, 'query-migrate')) !== 'undefined';
    });
  watcher.spinUntil(phase);
  watcher.spin(delay);
  await { source, destination }[victim].kill();
  const [survivor, own, other] = victim === 'source' ? [destination, to, head] : [source, head, to];
  const end = await outcome(survivor);
  const seen = [...watcher.look()];
  const what = `${victim} of ${String(head)} to ${String(to)} killed ${delay.toFixed(2)} ms after phase ${String(phase)}: ${end}`;
  t.equal(watcher.wrong, 0, `${what}; each block had one of the two at every look`);
  const isOwner = (victim === 'source') === (end === 'completed');
  t.strictSame(seen, [1 << (isOwner ? own : other)], `${what}; all blocks are those of one`);
  t.equal(await all(survivor).catch(() => ''), isOwner ? '16' : '', what);
  const given = watcher.phase === PHASE.given;
  t.notOk(given, `${what}; nothing is left undecided`);
  if (isOwner) return { owner: { host: survivor, head: own }, end };
  await survivor.kill();
  return { owner: { host: undefined, head: other }, end };
};

t.test(
  `a process killed while a head migrates (${String(KILLS)} times)`,
  needsNative,
  async (t) => {
    const pool = startPool(t);
    const ends = new Map<string, number>();
    let owner: Owner = { host: await pool.start(0), head: 0 };
    t.equal(await owner.host?.add([0, 16 * GiB]), 'ok');
    t.equal(await owner.host?.acceptAll(), '');
    for (let round = 0; round < KILLS; round++) {
      const host = owner.host ?? (await pool.start(owner.head));
      t.equal(await all(host), '16', 'the next one of a dead head has what that had');
      const victim = round % 2 === 0 ? 'destination' : 'source';
      const to = (owner.head + (round >> 1)) % 2;
      const result = await killRound(t, pool, { host, head: owner.head }, { to, victim });
      const end = `${victim} killed, the other one ${result.end}`;
      ends.set(end, (ends.get(end) ?? 0) + 1);
      owner = result.owner;
    }
    for (const [end, count] of ends) t.comment(`${end}: ${String(count)}`);
  },
);
