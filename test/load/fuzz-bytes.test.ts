import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { WebSocket } from 'ws';
import { connectWhenUp, eventually, privateFolder, spawnDaemon } from '../support/daemon.js';

/** Chunks for each of the two ways in; `npm run soak` asks for a million in all. */
const CHUNKS = Number(process.env['FUZZ_CHUNKS'] ?? 20_000);
/** Chunks that one connection gets before it makes place for the next. */
const PER_CONNECTION = 500;
const SEED = Number(process.env['FUZZ_SEED'] ?? 1);
/** A heap that has little room: what is not given back ends the daemon, or shows as growth. */
const SMALL_HEAP = ['--max-old-space-size=48', '--max-semi-space-size=1'];
/** Growth between the middle and the end of the flood. */
const GROWTH_BYTES = 8 << 20;

t.setTimeout(1_200_000);
const options = { timeout: 1_200_000 };

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

const GOOD = [
  '{"execute":"query-name","id":1}',
  '{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}',
  '{"exec-oob":"query-status","id":{"a":[1,2,{"b":null}]}}',
  '{"execute":"qom-list","arguments":{"path":"/machine"}}\r\n',
  "{'execute':'query-pci','arguments':{}}",
  '{"execute":"device_add","arguments":{"driver":"ivshmem-plain","id":"d0","memdev":"m0"}}',
  '{"execute":"object-add","arguments":{"qom-type":"memory-backend-ram","id":"m0","size":65536}}',
  '{"execute":"device_del","arguments":{"id":"d0"}}',
  '{"execute":"object-del","arguments":{"id":"m0"}}',
  '{"execute":"subscribe-events","arguments":{"since":0}}',
  '{"execute":"cont"}{"execute":"stop"}{"execute":"system_reset"}',
  '[[[[{"a":[18446744073709551615,-9.5e-3,"\\ud83d\\ude00"]}]]]]',
];
const SPLICES = [
  '{',
  '}',
  '[',
  ']',
  '"',
  "'",
  ',',
  ':',
  '\\',
  '\n',
  '\0',
  '\xff',
  'null',
  '1e9',
  ' ',
];

const noise = (random: Random): Buffer =>
  Buffer.from(Array.from({ length: 1 + random(48) }, () => random(256)));

/** A good request with a few bytes changed, lost, doubled or put in. */
const mutant = (random: Random): Buffer => {
  let bytes = Buffer.from(GOOD[random(GOOD.length)] ?? '', 'latin1');
  for (let times = random(4); times > 0; times--) {
    const at = random(bytes.length + 1);
    const put = [
      Buffer.from([random(256)]),
      Buffer.from(SPLICES[random(SPLICES.length)] ?? '', 'latin1'),
      Buffer.alloc(0),
      bytes.subarray(random(at + 1), at),
    ][random(4)];
    bytes = Buffer.concat([
      bytes.subarray(0, at),
      put ?? noise(random),
      bytes.subarray(at + random(3)),
    ]);
  }
  return random(4) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes;
};
const chunk = (random: Random): Buffer => (random(3) === 0 ? noise(random) : mutant(random));

/** One way in: sends chunks and reads whatever comes back. */
interface Way {
  send(bytes: Buffer): boolean;
  drained(): Promise<unknown>;
  close(): Promise<unknown>;
}

const overUnix = async (path: string): Promise<Way> => {
  const socket = connect(path);
  socket.on('error', () => undefined);
  socket.resume();
  await once(socket, 'connect');
  return {
    send: (bytes) => socket.writable && socket.write(bytes),
    drained: () =>
      socket.writableNeedDrain && socket.writable
        ? new Promise((resolve) => socket.once('drain', resolve).once('close', resolve))
        : new Promise(setImmediate),
    close: async () => {
      if (socket.closed) return;
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.destroy();
      await closed;
    },
  };
};

const overWebSocket = async (url: string): Promise<Way> => {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  socket.on('error', () => undefined);
  socket.on('message', () => undefined);
  await once(socket, 'open');
  return {
    send: (bytes) => {
      // Bytes of both kinds of frame are one stream; text must be UTF-8.
      if (socket.readyState === socket.OPEN) socket.send(bytes, { binary: true });
      return socket.bufferedAmount < 65_536;
    },
    drained: async () => {
      while (socket.readyState === socket.OPEN && socket.bufferedAmount > 0)
        await new Promise(setImmediate);
    },
    close: async () => {
      if (socket.readyState === socket.CLOSED) return;
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.terminate();
      await closed;
    },
  };
};

const flood = async (open: () => Promise<Way>, random: Random, count: number): Promise<void> => {
  for (let sent = 0; sent < count; sent += PER_CONNECTION) {
    const way = await open();
    for (let i = 0; i < Math.min(PER_CONNECTION, count - sent); i++)
      if (!way.send(chunk(random))) await way.drained();
    await way.drained();
    await way.close();
  }
};

t.test(
  `${String(2 * CHUNKS)} random or mutated chunks leave the daemon as it was`,
  options,
  async (t) => {
    const path = join(privateFolder(t), 'qmp.sock');
    const monitor = ['-qmp', `unix:${path},server=on,wait=off`, '--listen', '127.0.0.1:0'];
    const words = ['-M', 'pc,guest-policy=accept', '-name', 'vm0', ...monitor];
    const { child, stderr } = spawnDaemon(t, words, process.env, SMALL_HEAP);
    const where = /127\.0\.0\.1:\d+/;
    await eventually('it prints its address', () => where.test(stderr()));
    const url = `ws://${where.exec(stderr())?.[0] ?? ''}/qmp`;
    const good = async (): Promise<void> => {
      const qmp = await connectWhenUp(path);
      t.match(await qmp.execute('query-name'), { name: 'vm0' });
      qmp.close();
    };
    const resident = (): number => {
      const status = readFileSync(`/proc/${String(child.pid)}/status`, 'utf8');
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
    };
    const random = generator(SEED);
    const round = async (count: number): Promise<void> => {
      await flood(() => overUnix(path), random, count);
      await flood(() => overWebSocket(url), random, count);
    };
    await round(Math.ceil(CHUNKS / 2));
    await good();
    const before = resident();
    await round(Math.floor(CHUNKS / 2));
    await good();
    const after = resident();
    const MiB = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    t.comment(
      `seed ${String(SEED)}; resident ${MiB(before)} in the middle, ${MiB(after)} at the end`,
    );
    t.equal(after - before < GROWTH_BYTES, true, 'memory does not grow');
    t.equal(stderr().includes('internal error'), false, stderr().slice(0, 500));
    t.equal(child.exitCode, null, 'it lives');
  },
);
