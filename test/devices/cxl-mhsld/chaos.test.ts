import { readFileSync } from 'node:fs';
import t from 'tap';
import type { Test } from 'tap';
import { eventually } from '../../support/daemon.js';
import { needsNative } from '../../support/mdevice.js';
import { REFUSED, spawnHost, startHosts, type PoolHost } from '../../support/pool-host.js';
import { OWNERS_AT, ownerMasks, poolName } from '../../support/pools.js';
import { MiB } from '../../support/type3.js';

const HEADS = 8;
/** Heads meet on these blocks only. */
const BLOCKS = 96;
const KILLS = Number(process.env['POOL_KILLS'] ?? 4);
const ID = 'cxl-mem0';
/** What becomes of a dead head's blocks. */
const WAYS = ['adopt', 'freed by its successor', 'freed by management'] as const;

/** The command line of a head as docs/cxl-pools.md has it, for `$number` and `$init`. */
const documented = (): string[] => {
  const text = readFileSync(new URL('../../../docs/cxl-pools.md', import.meta.url), 'utf8');
  const command =
    /^ +node dist\/bin\/qmemd\.js (-M q35,cxl=on [^`]*?) -daemonize "\$@"$/m.exec(text)?.[1] ?? '';
  return command.replaceAll('\\\n', ' ').split(/ +/);
};
const wordsOf = (state: string, head: number, adopt = false): string[] =>
  documented().map((word) =>
    word
      .replace('mhd_metadata', state)
      .replace('$number', `${String(head)}${adopt ? ',mhd-adopt=true' : ''}`)
      .replace('$init', String(head === 0)),
  );

const random = (below: number): number => Math.floor(Math.random() * below);
const blocksFrom = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first + i);
const rangeOf = (first: number, count: number) => ({
  offset: BigInt(first) * 2n * MiB,
  len: BigInt(count) * 2n * MiB,
});
const dpaOf = (first: number, count: number) => {
  const { offset, len } = rangeOf(first, count);
  return { 'start-dpa': offset, len };
};

/** One head that does what comes to its mind, and what must be true of it. */
class Player {
  readonly head: number;
  host: PoolHost;
  /** Blocks that its guest side accepted. */
  owned = new Set<number>();
  /** Blocks of the command under way, whose fate is unknown when the process dies. */
  touched: readonly number[] = [];
  won = 0;
  lost = 0;
  #going: Promise<void> | undefined;
  #failure: Error | undefined;
  #stop = false;

  constructor(head: number, host: PoolHost) {
    this.head = head;
    this.host = host;
  }

  start(): void {
    this.#stop = false;
    this.#failure = undefined;
    this.#going = this.#play().catch((error: unknown) => {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    });
  }
  /** @param dead the process was killed: the command under way fails */
  async end(dead = false): Promise<void> {
    this.#stop = true;
    await this.#going;
    if (!dead && this.#failure !== undefined) throw this.#failure;
  }

  async #play(): Promise<void> {
    while (!this.#stop) {
      this.touched = [];
      await this.#step();
    }
    this.touched = [];
  }
  #step(): Promise<void> {
    const [some] = this.owned;
    const choice = random(10);
    if (choice < 3 && some !== undefined) return this.#release(some);
    return this.#add(choice);
  }
  async #add(choice: number): Promise<void> {
    const count = 1 + random(6);
    const first = random(BLOCKS - count);
    if (blocksFrom(first, count).some((block) => this.owned.has(block))) return;
    this.touched = blocksFrom(first, count);
    if (!(await this.#offer(first, count))) return;
    if (choice === 9) await this.#run('system_reset', {});
    else if (choice === 8) await this.#respond('reject');
    else {
      const taken = choice === 7 ? 1 : count;
      await this.#respond('accept', [dpaOf(first, taken)]);
      for (const block of blocksFrom(first, taken)) this.owned.add(block);
    }
  }
  async #offer(first: number, count: number): Promise<boolean> {
    try {
      await this.#run('cxl-add-dynamic-capacity', {
        ...{ path: ID, 'host-id': 0n, 'selection-policy': 'prescriptive', region: 0n },
        extents: [rangeOf(first, count)],
      });
      this.won += 1;
      return true;
    } catch (error) {
      if (!(error instanceof Error) || error.message !== REFUSED) throw error;
      this.lost += 1;
      return false;
    }
  }
  async #release(block: number): Promise<void> {
    this.touched = [block];
    await this.#run('guest-cxl-release', { id: ID, extents: [dpaOf(block, 1)] });
    this.owned.delete(block);
  }
  #respond(action: string, extents?: ReturnType<typeof dpaOf>[]): Promise<unknown> {
    return this.#run('guest-cxl-respond', {
      ...{ id: ID, action },
      ...(extents === undefined ? {} : { extents }),
    });
  }
  #run(command: string, args: Parameters<PoolHost['qmp']['execute']>[1]): Promise<unknown> {
    return this.host.qmp.execute(command, args);
  }
}

/** Blocks whose owner byte has the head's bit. */
const bitsOf = (state: string, head: number): number[] =>
  [...ownerMasks(state, 0, 2048)].flatMap((mask, block) => ((mask >> head) & 1 ? [block] : []));
const accepted = async ({ host }: Player): Promise<number[]> =>
  (await host.info()).accepted
    .flatMap((e) => blocksFrom(Number(e['start-dpa'] / (2n * MiB)), Number(e.len / (2n * MiB))))
    .sort((a, b) => a - b);
const sorted = (blocks: Iterable<number>): number[] => [...blocks].sort((a, b) => a - b);

/** Kills a head in the middle of its work and brings it back in one of three ways. */
const killOne = async (
  t: Test,
  state: string,
  players: readonly Player[],
  number: number,
  round: number,
): Promise<void> => {
  const victim = players[number] as Player;
  const survivor = players[(victim.head + 1) % HEADS] as Player;
  await victim.host.kill();
  await victim.end(true);
  const bits = bitsOf(state, victim.head);
  const unsure = new Set(victim.touched);
  const lost = [...victim.owned].filter((block) => !unsure.has(block) && !bits.includes(block));
  t.strictSame(lost, [], 'a dead head keeps what it accepted');
  const foreign = bits.filter((block) => !unsure.has(block) && !victim.owned.has(block));
  t.strictSame(foreign, [], 'and nothing else');
  const way = WAYS[round % 3] ?? WAYS[0];
  if (way === 'freed by management') {
    // A connection of its own: the survivor goes on with its work.
    const freed = await survivor.host.beside((qmp) =>
      qmp.execute('cxl-free-head', { path: ID, head: BigInt(victim.head) }),
    );
    t.strictSame(freed, { blocks: BigInt(bits.length) }, way);
  }
  victim.host = await spawnHost(t, wordsOf(state, victim.head, way === 'adopt'));
  const kept = way === 'adopt' ? bits : [];
  t.strictSame(await accepted(victim), kept, way);
  t.strictSame(bitsOf(state, victim.head), kept);
  victim.owned = new Set(kept);
  victim.touched = [];
  victim.start();
};

t.test(
  `eight processes by the documented command line, ${String(KILLS)} of them killed (M17)`,
  needsNative,
  async (t) => {
    const state = poolName(t);
    const first = new Player(0, await spawnHost(t, wordsOf(state, 0)));
    const rest = await startHosts(HEADS - 1, (i) => spawnHost(t, wordsOf(state, i + 1)));
    const players = [first, ...rest.map((host, i) => new Player(i + 1, host))];
    t.equal(ownerMasks(state, 0, 4096).length, 2048);
    for (const player of players) player.start();
    for (let round = 0; round < KILLS; round += 2) {
      const before = players.reduce((sum, { won, lost }) => sum + won + lost, 0);
      await eventually('work between kills', () => {
        return players.reduce((sum, { won, lost }) => sum + won + lost, 0) >= before + 40;
      });
      // Two at a time, whose survivors live.
      const victim = random(HEADS);
      await Promise.all([
        killOne(t, state, players, victim, round),
        killOne(t, state, players, (victim + HEADS / 2) % HEADS, round + 1),
      ]);
    }
    await Promise.all(players.map((player) => player.end()));
    for (const player of players) {
      t.strictSame(await accepted(player), sorted(player.owned), 'nobody lost an accepted block');
      t.strictSame(bitsOf(state, player.head), sorted(player.owned), 'the map says the same');
    }
    const masks = [...ownerMasks(state, 0, 2048)];
    t.ok(
      masks.every((mask) => (mask & (mask - 1)) === 0),
      'no block has two owners',
    );
    t.ok(
      players.every(({ won }) => won > 0),
      'every head won blocks',
    );
    t.ok(
      players.some(({ lost }) => lost > 0),
      'heads met',
    );
    t.equal(readFileSync(`/dev/shm/${state}`).length, OWNERS_AT + 2048);
  },
);
