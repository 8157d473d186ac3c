import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Json } from '../side-by-side/client.js';
import { emptyHost, REFUSED, startHosts, type PoolHost } from './pool-host.js';
import { OWNERS_AT, ownerMasks, poolName, SHARED_OBJECTS } from './pools.js';
import { hex, MiB, type Range } from './type3.js';

/** One pool of the hosts, for one vector. */
class TestPool {
  readonly name: string;
  readonly #t: Test;
  readonly #hosts: readonly PoolHost[];
  readonly #attached = new Set<PoolHost>();

  constructor(t: Test, hosts: readonly PoolHost[]) {
    this.name = poolName(t);
    this.#t = t;
    this.#hosts = hosts;
  }
  get path(): string {
    return join(SHARED_OBJECTS, this.name);
  }
  /** A head of the number of its host. */
  async head(
    number: number,
    more: Record<string, Json> = {},
    host = this.#hosts[number],
  ): Promise<PoolHost> {
    if (host === undefined) throw new Error('no such host');
    await host.attach(this.name, number, more);
    this.#attached.add(host);
    return host;
  }
  heads(...numbers: readonly number[]): Promise<PoolHost[]> {
    return numbers.reduce<Promise<PoolHost[]>>(
      async (before, number) => [...(await before), await this.head(number)],
      Promise.resolve([]),
    );
  }
  async exit(host: PoolHost): Promise<void> {
    this.#attached.delete(host);
    await host.detach();
  }
  /** Hosts in processes of their own, which can die. */
  mortals(count: number): Promise<PoolHost[]> {
    return startHosts(count, () => emptyHost(this.#t));
  }
  map(first: number, last: number): string {
    return ownerMasks(this.name, first, last - first + 1).toString('hex');
  }
  async end(): Promise<void> {
    for (const host of this.#attached) await this.exit(host);
  }
}

const same = (mask: string, count: number): string => mask.repeat(count);
const range = (first: number, count: number): Range => [2 * first, 2 * count];

type Vector = (t: Test, pool: TestPool) => Promise<void>;

/** reference/cxl.md §11, M1 to M16; M3 is below QMP, M15 looks into devices. */
const VECTORS: Readonly<Record<string, Vector>> = {
  'M1 two heads, same blocks': async (t, pool) => {
    const [zero, one] = (await pool.heads(0, 1)) as [PoolHost, PoolHost];
    t.equal(await zero.add([0, 64]), 'ok');
    t.equal(await one.add([32, 64]), REFUSED);
    t.equal(pool.map(0, 47), same('01', 32) + same('00', 16));
    t.strictSame((await one.info()).pending, []);
    t.equal(await one.mailbox(0x0100, hex('04')), same('00', 32), 'no record');
    t.equal(await one.add([64, 64]), 'ok');
    t.equal(pool.map(32, 63), same('02', 32));
    t.strictSame([await zero.acceptAll(), await one.acceptAll()], ['', '']);
    t.equal(await one.release([0, 2]), 'code f');
    t.equal(pool.map(0, 63), same('01', 32) + same('02', 32));
    const [info] = (await one.qmp.execute('query-cxl-pools')) as Record<string, Json>[];
    t.strictSame(info, {
      ...{ state: pool.name, blocks: 2048n },
      heads: Array.from({ length: 8 }, (_, head) => ({
        ...{ head: BigInt(head), state: head < 2 ? 'attached' : 'free' },
        blocks: head < 2 ? 32n : 0n,
        ...(head === 1 ? { path: '/machine/peripheral/h' } : {}),
      })),
      owners: [
        { first: 0n, count: 32n, heads: [0n] },
        { first: 32n, count: 32n, heads: [1n] },
      ],
      moves: [],
      conflicts: [{ head: 1n, block: 16n, heads: [0n] }],
    });
    t.strictSame((await zero.info()).blocks, info?.['owners'], 'owners of all heads at each head');
  },
  'M2 several extents, the last one is taken': async (t, pool) => {
    const [zero, one] = (await pool.heads(0, 1)) as [PoolHost, PoolHost];
    await one.add(range(20, 10));
    t.equal(await zero.add([0, 8], [16, 4], [40, 8]), REFUSED);
    t.equal(pool.map(0, 29), same('00', 20) + same('02', 10));
  },
  'M4 partial accept': async (t, pool) => {
    const [zero, one] = (await pool.heads(0, 1)) as [PoolHost, PoolHost];
    await zero.add([0, 16]);
    t.equal(await zero.respond([4, 4]), '');
    t.equal(pool.map(0, 7), '0000010100000000');
    t.equal(await one.add([0, 4]), 'ok');
  },
  'M5 reject all': async (t, pool) => {
    const [zero, one] = (await pool.heads(0, 1)) as [PoolHost, PoolHost];
    await zero.add([0, 16]);
    t.equal(await zero.respond(), '');
    t.equal(pool.map(0, 7), same('00', 8));
    t.equal(await one.add([0, 16]), 'ok');
  },
  'M6 static memory in front': async (t, pool) => {
    const zero = await pool.head(0, { 'volatile-memdev': 'static' });
    t.equal(await zero.add([0, 2]), 'ok');
    t.equal(await zero.add([4094, 2]), 'ok');
    t.match((await zero.info()).pending[0]?.extents, [{ 'start-dpa': 0x1000_0000n }]);
    t.equal(pool.map(0, 1) + pool.map(2046, 2047), '01000001');
    t.equal(statSync(pool.path).size, OWNERS_AT + 2048);
    t.equal(await zero.respond([256, 2]), '');
    t.equal(await zero.release([256, 2]), '');
    t.equal(pool.map(0, 0) + pool.map(2047, 2047), '0001');
  },
  'M7 eight heads, stripes': async (t, pool) => {
    const heads = await pool.heads(0, 1, 2, 3, 4, 5, 6, 7);
    const stripes = (h: number): Range[] =>
      Array.from({ length: 32 }, (_, i) => range(8 * i + h, 1));
    const added = await Promise.all(heads.map((head, h) => head.add(...stripes(h))));
    t.strictSame(
      added,
      heads.map(() => 'ok'),
    );
    t.equal(pool.map(0, 255), same('0102040810204080', 32));
    for (const head of heads) {
      const handles: string[] = [];
      for (let more = '01'; more === '01';) {
        const records = await head.mailbox(0x0100, hex('04'));
        const count = parseInt(records.slice(40, 42), 16);
        const last = 64 + 256 * (count - 1);
        more = records.slice(last + 106, last + 108);
        const taken = Array.from({ length: count }, (_, i) =>
          records.slice(104 + 256 * i, 108 + 256 * i),
        );
        handles.push(...taken);
        await head.mailbox(
          0x0101,
          hex(`0400${count.toString(16).padStart(2, '0')}000000${taken.join('')}`),
        );
      }
      t.equal(handles.length, 32, 'a record for every extent, the last one says so');
    }
  },
  'M8 eight heads, one range': async (t, pool) => {
    const heads = await pool.heads(0, 1, 2, 3, 4, 5, 6, 7);
    const added = await Promise.all(heads.map((head) => head.add([0, 512])));
    t.strictSame([...added].sort(), [...new Array<string>(7).fill(REFUSED), 'ok']);
    const winner = added.indexOf('ok');
    t.equal(pool.map(0, 255), same((1 << winner).toString(16).padStart(2, '0'), 256));
    for (const [h, head] of heads.entries())
      t.equal((await head.info()).pending.length, h === winner ? 1 : 0);
    const [one, two] = heads as [PoolHost, PoolHost];
    const crossed = await Promise.all([one.add([600, 2], [800, 2]), two.add([800, 2], [600, 2])]);
    t.strictSame(crossed.sort(), [REFUSED, 'ok'], 'exactly one wins');
    t.equal(pool.map(300, 300), pool.map(400, 400));
  },
  'M9 three heads in a chain': async (t, pool) => {
    const [a, b, c] = (await pool.heads(0, 1, 2)) as [PoolHost, PoolHost, PoolHost];
    const won = await Promise.all([
      a.add(range(0, 100)),
      b.add(range(50, 100)),
      c.add(range(100, 100)),
    ]);
    const winners = won.map((outcome) => (outcome === 'ok' ? 1 : 0)).join('');
    t.ok(['101', '010'].includes(winners), winners);
    const expected =
      winners === '101'
        ? same('01', 100) + same('04', 100)
        : same('00', 50) + same('02', 100) + same('00', 50);
    t.equal(pool.map(0, 199), expected);
  },
  'M10 hand-over': async (t, pool) => {
    const [zero, one] = (await pool.heads(0, 1)) as [PoolHost, PoolHost];
    await zero.add(range(0, 64));
    await zero.acceptAll();
    await zero.askBack(32, 32);
    t.equal(await one.add([32, 32]), REFUSED, 'asked for, and not given back');
    t.equal(await zero.release([32, 32]), '');
    t.equal(await one.add([32, 32]), 'ok');
    t.equal(pool.map(0, 63), same('01', 16) + same('02', 16) + same('01', 32));
    t.equal(await zero.release([32, 2]), 'code f');
  },
  'M11 a dead head': async (t, pool) => {
    const [zero] = (await pool.heads(0, 1, 3)) as [PoolHost];
    const heads = async (): Promise<unknown> =>
      ((await zero.qmp.execute('query-cxl-pools')) as { heads: unknown[] }[])[0]?.heads[2];
    const mortals = await pool.mortals(3);
    const die = async (): Promise<void> => {
      const two = mortals.pop() as PoolHost;
      await two.attach(pool.name, 2);
      await two.add(range(100, 100));
      await two.acceptAll();
      t.match(await heads(), { state: 'attached', blocks: 100n });
      await two.kill();
      t.equal(pool.map(100, 199), same('04', 100));
      t.match(await heads(), { state: 'dead', blocks: 100n });
    };
    await die();
    const two = await pool.head(2);
    t.equal(pool.map(100, 199), same('00', 100), 'freed by its successor');
    const free = (path: string, head: number): Promise<Json> =>
      zero.qmp.execute('cxl-free-head', { path, head: BigInt(head) });
    for (const head of [0, 2])
      await t.rejects(free('h', head), {
        message: `head ${String(head)} of mhsld state '${pool.name}' is attached`,
      });
    await t.rejects(free('h', 8), {
      message: `mhsld state '${pool.name}' has heads 0 to 7, no 8`,
    });
    await t.rejects(free('nosuch', 2), { message: "Device 'nosuch' not found" });
    await t.rejects(free('rp0', 2), {
      message: "device 'rp0' is a cxl-rp: it is no head of a CXL pool",
    });
    await pool.exit(two);
    await die();
    t.strictSame(await free('h', 2), { blocks: 100n });
    t.match(await heads(), { state: 'free', blocks: 0n });
    t.equal(pool.map(100, 199), same('00', 100), 'freed by management');
    await die();
    const heir = await pool.head(2, { 'mhd-adopt': true });
    t.match(await heads(), { state: 'attached', blocks: 100n });
    t.match((await heir.info()).accepted, [{ 'start-dpa': 200n * MiB, len: 200n * MiB }]);
  },
  'M12 who goes when': async (t, pool) => {
    const [zero, one, two] = (await pool.heads(0, 1, 2)) as [PoolHost, PoolHost, PoolHost];
    await zero.add(range(0, 4));
    await one.add(range(4, 4));
    await pool.exit(zero);
    t.equal(pool.map(0, 7), '0000000002020202');
    t.equal(readFileSync(pool.path)[2], 0xff);
    const three = await pool.head(3);
    t.strictSame((await three.info()).blocks, [{ first: 4n, count: 4n, heads: [1n] }]);
    for (const head of [one, two, three]) await pool.exit(head);
    t.notOk(existsSync(pool.path));
  },
  'M13 bad or live object': async (t, pool) => {
    const [zero] = (await pool.heads(0)) as [PoolHost];
    await zero.add(range(0, 4));
    await pool.head(1, { 'mhd-init': true });
    t.equal(pool.map(0, 3), '01010101', 'what lives is joined');
    const refuse = async (expected: string, more: Record<string, Json> = {}): Promise<void> => {
      const before = readFileSync(pool.path);
      const message = `mhsld state '${pool.name}' ${expected}`;
      await t.rejects(pool.head(2, { 'mhd-init': true, ...more }), { message });
      t.strictSame(readFileSync(pool.path), before);
    };
    await refuse('has 2048 blocks, the device 1024', { 'volatile-dc-memdev': 'half' });
    await pool.end();
    const spoil = async (expected: string, change: (content: Buffer) => Buffer): Promise<void> => {
      const content = Buffer.alloc(OWNERS_AT + 2048);
      content.set([8, 8]);
      content.writeBigUInt64LE(2048n, 16);
      writeFileSync(pool.path, change(content));
      await refuse(expected);
    };
    await spoil('has 100 bytes, which no layout of 2048 blocks has', (c) => c.subarray(0, 100));
    await spoil('has 0 heads, not 8', (c) => (c.writeUInt8(0, 0), c));
    await spoil('has 200 logical devices, not 8', (c) => (c.writeUInt8(200, 1), c));
    await spoil('has 4096 blocks, the device 2048', (c) => (c.writeBigUInt64LE(4096n, 16), c));
  },
  'M14 reset': async (t, pool) => {
    const [zero, one] = (await pool.heads(0, 1)) as [PoolHost, PoolHost];
    await zero.add(range(0, 10));
    await zero.acceptAll();
    await zero.add(range(10, 10));
    t.equal(pool.map(0, 19), same('01', 20));
    await zero.qmp.execute('system_reset');
    const { pending, accepted } = await zero.info();
    t.strictSame([pending.length, accepted.length], [0, 1]);
    t.equal(pool.map(0, 19), same('01', 10) + same('00', 10));
    t.equal(await one.add(range(10, 10)), 'ok');
    t.equal(await one.add([0, 2]), REFUSED);
  },
  'M16 head information': async (t, pool) => {
    const [zero] = (await pool.heads(0, 3)) as [PoolHost];
    t.equal(await zero.mailbox(0x5500, hex('00 08')), '080800000008000000ffff03ffffffff');
    t.equal(await zero.mailbox(0x5500, hex('06 08')), '0808000006020000ffff');
    t.equal(await zero.mailbox(0x5500, hex('08 01')), 'code 2');
  },
};

/** Runs all vectors on these hosts. */
export const runVectors = async (t: Test, hosts: readonly PoolHost[]): Promise<void> => {
  for (const [vector, run] of Object.entries(VECTORS))
    await t.test(vector, async (t) => {
      const pool = new TestPool(t, hosts);
      await run(t, pool);
      await pool.end();
    });
};
