import fc from 'fast-check';
import t from 'tap';
import { MessageReader } from '../../devices/ivshmem/message-reader.js';
import { MAX_COUNTERS, Peers } from '../../devices/ivshmem/peers.js';
import { IvshmemClient } from '../../devices/ivshmem/client.js';
import type { EventNotifiers } from '../../devices/core/event-notifier.js';
import { serverContext } from '../support/ivshmem-device.js';

const bytesOf = (...values: readonly bigint[]): Buffer => {
  const bytes = Buffer.alloc(8 * values.length);
  for (const [i, value] of values.entries()) bytes.writeBigInt64LE(value, 8 * i);
  return bytes;
};
const EDGES = [0n, -1n, 65_535n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)];

t.test('messages may come in any pieces', async (t) => {
  const whole = bytesOf(...EDGES);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 60 }), (cuts) => {
      const reader = new MessageReader(() => undefined);
      const values: bigint[] = [];
      let at = 0;
      for (const length of [...cuts, whole.length]) {
        for (const { value } of reader.push(whole.subarray(at, at + length), []))
          values.push(value);
        at += length;
      }
      return values.length === EDGES.length && values.every((value, i) => value === EDGES[i]);
    }),
  );
  const reader = new MessageReader(() => undefined);
  const single = [...whole].flatMap((byte) => reader.push(Buffer.from([byte]), []));
  t.strictSame(
    single.map(({ value }) => value),
    EDGES,
    'one byte at a time',
  );
});

t.test('descriptors belong to the message begun last', async (t) => {
  const discarded: number[] = [];
  const reader = new MessageReader((fd) => void discarded.push(fd));
  t.strictSame(reader.push(bytesOf(1n, 2n), [7]), [
    { value: 1n, descriptor: undefined },
    { value: 2n, descriptor: 7 },
  ]);
  const [first, rest] = [bytesOf(3n, 4n).subarray(0, 11), bytesOf(3n, 4n).subarray(11)];
  t.strictSame(reader.push(first, [8]), [{ value: 3n, descriptor: undefined }]);
  t.strictSame(reader.push(rest, []), [{ value: 4n, descriptor: 8 }]);
  t.strictSame(reader.push(bytesOf(5n), [9, 10]), [{ value: 5n, descriptor: 9 }]);
  reader.push(first.subarray(0, 3), [11]);
  reader.close();
  t.strictSame(discarded, [10, 11], 'a second one, and one without the end of its message');
});

/** Counters that are numbers. */
const fakeNotifiers = () => {
  const open = new Set<number>();
  const rung: number[] = [];
  const notifiers: EventNotifiers = {
    check: () => undefined,
    discard: (fd) => void open.delete(fd),
    adopt: (fd) => ({
      signal: () => void rung.push(fd),
      watch: () => undefined,
      pause: () => undefined,
      close: () => void open.delete(fd),
    }),
  };
  return { notifiers, open, rung };
};

t.test('a device holds so many counters and not one more', async (t) => {
  const { notifiers, open, rung } = fakeNotifiers();
  const peers = new Peers({ notifiers, vectors: 2048 });
  const add = (id: number, fd: number) => {
    open.add(fd);
    return peers.add(id, fd);
  };
  for (let fd = 0; fd < MAX_COUNTERS; fd++) add(Math.floor(fd / 2048), fd);
  t.throws(() => add(9, MAX_COUNTERS), { message: /a device holds at most 8192/ });
  t.equal(open.size, MAX_COUNTERS, 'one past the limit is closed');
  t.throws(() => add(0, MAX_COUNTERS), { message: /device has 2048 vectors/ });
  peers.ring(3, 2047);
  peers.remove(3);
  peers.ring(3, 2047);
  t.strictSame(rung, [MAX_COUNTERS - 1]);
  t.equal(add(9, MAX_COUNTERS).vector, 0, 'who left makes room');
  peers.close();
  t.equal(open.size, 0);
});

const message = fc.record({
  value: fc.oneof(
    fc.bigInt({ min: -3n, max: 5n }),
    fc.constantFrom(...EDGES),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  ),
  descriptors: fc.integer({ min: 0, max: 3 }),
});

t.test('whatever a server sends, every descriptor is closed in the end', async (t) => {
  const runs = Number(process.env['FUZZ_RUNS'] ?? 300);
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 40 }), fc.boolean(), async (said, proper) => {
      const { notifiers, open } = fakeNotifiers();
      const { context, server } = serverContext({ eventNotifiers: notifiers });
      const hostMemory = {
        ...context.hostMemory,
        adopt: (fd: number) => ({
          ...{ path: '', fd, kind: 'regular' as const, length: () => 4096n },
          ...{ resize: () => undefined, punchHole: () => undefined, unlink: () => undefined },
          map: () => {
            throw new Error('not mapped here');
          },
          close: () => void open.delete(fd),
        }),
      };
      const client = new IvshmemClient({
        ...{ services: { ...context, hostMemory }, server: server.claim('c0', '') },
        ...{ vectors: 2, mapsMemory: false, interrupt: () => undefined },
      });
      const connected = client.connect().catch(() => undefined);
      let next = 0;
      const start = [
        { value: 0n, descriptors: 0 },
        { value: 0n, descriptors: 0 },
        { value: -1n, descriptors: 1 },
      ];
      for (const { value, descriptors } of [...(proper ? start : []), ...said]) {
        const fds = Array.from({ length: descriptors }, () => next++);
        for (const fd of fds) open.add(fd);
        server.listener?.data(bytesOf(value), fds);
      }
      server.listener?.closed();
      await connected;
      client.close();
      return open.size === 0;
    }),
    { numRuns: runs },
  );
  t.equal(runs > 0, true);
});
