import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { connectWhenUp, eventually, privateFolder, spawnDaemon } from '../support/daemon.js';

/** Lines in all; `npm run soak` asks for a million. */
const LINES = Number(process.env['QTEST_LINES'] ?? 12_000);
const PER_CONNECTION = 3000;
const PER_WRITE = 50;
const SEED = Number(process.env['FUZZ_SEED'] ?? 1);
const SMALL_HEAP = ['--max-old-space-size=64', '--max-semi-space-size=1'];
/** Growth between the middle and the end. */
const GROWTH_BYTES = 12 << 20;

t.setTimeout(1_200_000);

/** Numbers from 0 up to `below`, the same for the same seed. */
const generator = (seed: number) => {
  let state = seed >>> 0 || 1;
  return (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
};
type Random = ReturnType<typeof generator>;
const pick = <T>(random: Random, from: readonly [T, ...T[]]): T =>
  from[random(from.length)] ?? from[0];

const COMMANDS = [
  ...['inb', 'inw', 'inl', 'outb', 'outw', 'outl', 'readb', 'readw', 'readl', 'readq', 'writeb'],
  ...['writew', 'writel', 'writeq', 'read', 'write', 'memset', 'b64read', 'b64write', 'endianness'],
  ...['clock_step', 'clock_set', 'irq_intercept_in', 'irq_intercept_out', 'set_irq_in'],
  ...['module_load', 'nonsense', ''],
] as unknown as readonly [string, ...string[]];
/** Where something is: ports, RAM, BARs, ECAM, the receiver of messages, the ends of everything. */
const PLACES = [
  ...[0xcf8, 0xcfc, 0xcfe, 0x510, 0x511, 0xcc0, 0xcc8, 0xcd0, 0x1000, 0xfffff, 0xe0000000],
  ...[0xe0000008, 0xe0001000, 0xe0100000, 0xe0200060, 0xb0000004, 0xb0010068, 0xfee00010],
] as unknown as readonly [number, ...number[]];
const WORDS = [
  ...['ioapic', '/machine/q35', 'unnamed-gpio-in', '0x', '-1', '0xffffffffffffffff', 'zz', '', '7'],
  ...['0x80000001', '0x80000002', '99999999999999999999999', 'AQIDBA==', '\u00ff\u0000', '0777'],
] as unknown as readonly [string, ...string[]];

const word = (random: Random): string => {
  switch (random(6)) {
    case 0:
      return pick(random, WORDS);
    case 1:
      return String(2 ** 31 + random(8) * 2048 + random(64) * 4);
    case 2:
      return `0x${random(2 ** 32).toString(16)}`;
    case 3:
      return String(random(70));
    default:
      return String(pick(random, PLACES) + random(16));
  }
};
/** A request, sometimes spoilt. Without line ends. */
const line = (random: Random): string => {
  const words = [pick(random, COMMANDS), ...Array.from({ length: random(5) }, () => word(random))];
  const text = words.join(' ');
  if (random(5) > 0) return text;
  const at = random(text.length + 1);
  const byte = String.fromCharCode(random(256));
  return `${text.slice(0, at)}${byte === '\n' ? ' ' : byte}${text.slice(at + random(3))}`;
};

/** Sends lines and counts the replies to them. */
class Flood {
  replies = 0;
  readonly #socket: Socket;
  #partial = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('error', () => undefined);
    socket.on('data', (text: string) => {
      const lines = (this.#partial + text).split('\n');
      this.#partial = lines.pop() ?? '';
      this.replies += lines.filter((reply) => !reply.startsWith('IRQ ')).length;
      socket.emit('replies');
    });
  }

  /** @returns how many replies are due */
  async send(lines: readonly string[]): Promise<number> {
    const due = this.replies + lines.filter((text) => text !== '').length;
    this.#socket.write(lines.map((text) => `${text}\n`).join(''), 'latin1');
    while (this.replies < due) await once(this.#socket, 'replies');
    return due;
  }
}

t.test(`${String(LINES)} made-up lines leave the daemon as it was`, async (t) => {
  const folder = privateFolder(t);
  const [qtestPath, qmpPath] = [join(folder, 'qtest'), join(folder, 'qmp')];
  const file = join(folder, 'memory');
  writeFileSync(file, Buffer.alloc(1 << 20));
  const { child, stderr } = spawnDaemon(
    t,
    [
      ...['-M', 'q35', '-nodefaults', '-m', '1M', '-accel', 'qtest', '-name', 'vm0'],
      ...['-object', 'memory-backend-ram,id=m1,size=1M'],
      ...['-device', `dynamic-mdevice,id=dm,addr=3,size=1M,align=4K,mem-path=${file}`],
      ...['-device', 'ivshmem-plain,id=iv,memdev=m1,addr=4', '-device', 'edu,addr=5'],
      ...['-device', 'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2.0'],
      ...['-qtest', `unix:${qtestPath},server=on,wait=off`, '--limit', 'qtest-access-bytes=65536'],
      ...['-qmp', `unix:${qmpPath},server=on,wait=off`],
    ],
    process.env,
    SMALL_HEAP,
  );
  const qmp = await connectWhenUp(qmpPath);
  t.teardown(() => qmp.close());
  await eventually('the qtest socket is there', () => existsSync(qtestPath));
  const resident = (): number => {
    const status = readFileSync(`/proc/${String(child.pid)}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
  };
  const random = generator(SEED);
  const round = async (count: number): Promise<void> => {
    for (let sent = 0; sent < count; sent += PER_CONNECTION) {
      const socket = connect(qtestPath);
      await once(socket, 'connect');
      const flood = new Flood(socket);
      for (let written = 0; written < PER_CONNECTION; written += PER_WRITE) {
        const due = await flood.send(Array.from({ length: PER_WRITE }, () => line(random)));
        if (flood.replies !== due) t.fail(`${String(flood.replies)} replies, ${String(due)} due`);
      }
      socket.destroy();
    }
  };
  await round(LINES / 2);
  t.match(await qmp.execute('query-name'), { name: 'vm0' });
  const before = resident();
  await round(LINES / 2);
  t.match(await qmp.execute('query-name'), { name: 'vm0' });
  const growth = resident() - before;
  t.comment(
    `seed ${String(SEED)}; resident ${String(before >> 20)} MiB, then ${String(growth)} more`,
  );
  t.ok(growth < GROWTH_BYTES, `${String(growth)} bytes more`);
  t.equal(child.exitCode, null, 'it lives');
  t.equal(/qtest access failed|internal error/.test(stderr()), false, stderr().slice(0, 500));
});
