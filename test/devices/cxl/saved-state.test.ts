import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import type { StateValue } from '../../../devices/core/device.js';
import type { Type3Properties } from '../../../devices/cxl/type3-properties.js';
import { decodeConfig, encodeConfig } from '../../../devices/state/config-format.js';
import { SparseBackend } from '../../support/sparse-memory.js';
import { hex, MiB, Type3Bench, extent, response } from '../../support/type3.js';

/** Lives of a device that is saved in the middle; more with CXL_STATE_RUNS. */
const RUNS = Number(process.env['CXL_STATE_RUNS'] ?? 40);
const SECOND = 1_000_000_000n;
const IDENTITY = { typeName: 'cxl-type3', version: 1 };
const TAG = '00112233445566778899aabbccddeeff';
const UUID = '00112233-4455-6677-8899-aabbccddeeff';
const SCRUB = '96dad7d6fde8482ba73375774e06db8a';
const ECS = 'e5b13f2223284a14b8bab9691e893386';

/** One thing that software or management does, and what is seen of it. */
type Act = (bench: Type3Bench) => string;

const u64 = (value: bigint): string => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.toString('hex');
};
const command =
  (opcode: number, input = ''): Act =>
  (bench) =>
    bench.text(opcode, input);
const refusal = (run: () => void): string => {
  try {
    run();
    return 'ok';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};
const bytesOf = (fill: number, length: number): string =>
  Buffer.alloc(length, fill).toString('hex');
const spot = fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 4 }));
const address = fc.nat(30).map((line) => 64n * BigInt(line));

const poison: fc.Arbitrary<Act>[] = [
  address.map((at) => command(0x4301, u64(at))),
  fc.tuple(address, fc.nat(255)).map(([at, n]) => command(0x4302, u64(at) + bytesOf(n, 64))),
  fc.constant(command(0x4300, u64(0n) + u64(1000n))),
  fc.constant(command(0x4304, `${u64(0n)}${u64(0x40000n)}00`)),
  fc.constant(command(0x4305)),
  fc.integer({ min: 1, max: 300 }).map(
    (count): Act =>
      ({ state }) =>
        Array.from({ length: count }, (_, i) =>
          state.poison.add({ base: 128n * BigInt(i), len: 64n, source: 2 }, state.time.now()),
        ).join(''),
  ),
];
const transfer = (slot: number, action: number, offset: number): Act => {
  const input = Buffer.alloc(256);
  input.set([action, slot]);
  input.writeUInt32LE(offset, 4);
  return command(0x0201, input.toString('hex'));
};
const firmware: fc.Arbitrary<Act>[] = [
  fc
    .tuple(fc.integer({ min: 1, max: 2 }), fc.nat(4), fc.nat(2))
    .map(([slot, action, offset]) => transfer(slot, action, offset)),
  fc.constant(command(0x0200)),
  fc
    .tuple(fc.nat(1), fc.nat(2))
    .map(([how, slot]) => command(0x0202, `0${String(how)}0${String(slot)}`)),
];
const features: fc.Arbitrary<Act>[] = [
  fc
    .tuple(fc.constantFrom(SCRUB, ECS), fc.nat(4), fc.nat(2), fc.constantFrom('0501', '02ff', '0b'))
    .map(([uuid, action, offset, data]) =>
      command(
        0x0502,
        `${uuid}0${String(action)}0000000${String(offset)}0001${'00'.repeat(9)}${data}`,
      ),
    ),
  fc.constantFrom(SCRUB, ECS).map((uuid) => command(0x0501, `${uuid}0000ff0000`)),
  fc
    .constantFrom('1fff4a002200 0b0001000200', '01004b0000000000000000 00')
    .map((text) => command(0x4202, text)),
  fc.constant(command(0x4201)),
];
const events: fc.Arbitrary<Act>[] = [
  fc.tuple(fc.nat(3), fc.constantFrom(1, 3, 700)).map(([log, count]): Act => ({ state }) => {
    for (let i = 0; i < count; i++) state.logs.append(log as 0, new Uint8Array(128).fill(i));
    return String(state.logs.status);
  }),
  fc.nat(4).map((log) => command(0x0100, `0${String(log)}`)),
  fc.nat(4).map((log) => command(0x0101, `0${String(log)}0100000000`)),
  fc.constant(command(0x0102)),
  fc.constantFrom('0101010101', '0001000100').map((policy) => command(0x0103, policy)),
];
const capacity: fc.Arbitrary<Act>[] = [
  fc.tuple(spot, fc.boolean(), fc.nat(1)).map(
    ([[at, len], tagged, region]): Act =>
      (bench) =>
        refusal(() =>
          bench.manager.add({
            ...{ hostId: 0, policy: 'prescriptive', region, extents: [extent(2 * at, 2 * len)] },
            ...(tagged ? { tag: UUID } : {}),
          }),
        ),
  ),
  fc.tuple(spot, fc.boolean()).map(
    ([[at, len], more]): Act =>
      (bench) =>
        bench.text(0x4802, response([[512 + 2 * at, 2 * len]], more)),
  ),
  fc.constant<Act>((bench) => {
    const ranges = bench.capacity.pending[0]?.extents ?? [];
    const list = ranges.map(({ base, len }) => [Number(base / MiB), Number(len / MiB)] as const);
    return bench.text(0x4802, response(list));
  }),
  spot.map(
    ([at, len]): Act =>
      (bench) =>
        bench.text(0x4803, response([[512 + 2 * at, 2 * len]])),
  ),
  fc.tuple(spot, fc.boolean(), fc.boolean()).map(
    ([[at, len], forced, sanitize]): Act =>
      (bench) =>
        refusal(() =>
          bench.manager.release({
            ...{ hostId: 0, policy: 'prescriptive', forced, sanitize, region: 0 },
            extents: [extent(2 * at, 2 * len)],
          }),
        ),
  ),
  fc.constant(command(0x4801, '0001000000000000')),
  fc.constant(command(0x4800, '0000')),
  fc.constantFrom(0x5606, 0x5607, 0x5608).map((opcode): Act => ({ state }) => {
    const input = opcode === 0x5606 ? hex('00000000ff000000') : hex(TAG);
    const { code, output } = state.fabric.execute(opcode, input);
    return `${String(code)} ${Buffer.from(output).toString('hex')}`;
  }),
];
const rest: fc.Arbitrary<Act>[] = [
  fc.nat(100).map((n) => command(0x0301, u64(BigInt(n)))),
  fc.constant(command(0x0300)),
  fc.constant(command(0x4400)),
  fc.constant(command(0x0005)),
  fc.constant(command(0x4402, `0100000001000000${u64(0n)}${u64(128n)}`)),
  fc
    .tuple(fc.nat(64), fc.nat(255))
    .map(([at, n]) => command(0x4103, `${bytesOf(at, 1)}00000000000000${bytesOf(n, 8)}`)),
  fc.constant(command(0x4102, '0000000040000000')),
  fc.constant(command(0x4000)),
  fc.constantFrom(1, 2, 4).map((shift): Act => ({ state }) => {
    const { code } = state.fabric.execute(0x0004, Uint8Array.of(7 + shift));
    return `${String(code)} ${Buffer.from(state.fabric.execute(0x0003, new Uint8Array(0)).output).toString('hex')}`;
  }),
  fc.constantFrom(1n, 1n, 2n, 33n).map((n): Act => (bench) => {
    bench.clock.step(n * SECOND);
    return '';
  }),
  fc
    .tuple(fc.nat(0x3f), fc.constantFrom(0, 1, 0xffff_ffff))
    .map(([at, value]): Act => ({ device }) => {
      device.pci.writeBar(0, 0x1128 + 4 * at, 4, BigInt(value));
      return String(device.pci.readBar(0, 0x1128 + 4 * at, 4));
    }),
  fc.nat(13).map((type): Act => ({ device }) => {
    const header = Array.from({ length: 16 }, (_, i) => type + i);
    device.injectUncorrectable([{ type: type as 0, header }] as never);
    device.injectCorrectable(type % 6);
    return '';
  }),
  fc.nat(9).map((at): Act => ({ device }) => {
    const doe = 0x190;
    device.pci.writeConfig(doe + 0x10, 4, [0x0000_0001, 3, 0][at % 3] ?? 0);
    if (at === 9) device.pci.writeConfig(doe + 8, 4, 0x8000_0000);
    return String(device.pci.readConfig(doe + 0xc, 4));
  }),
  fc.tuple(address, fc.nat(255)).map(([at, n]): Act => ({ device }) => {
    const written = device.writeDpa(at as never, Buffer.alloc(8, n));
    const into = Buffer.alloc(8);
    const fault = device.readDpa(at as never, into);
    return `${String(written)} ${fault ?? into.toString('hex')}`;
  }),
  fc.constant<Act>(({ device }) => {
    device.reset('warm');
    device.pci.writeConfig(4, 2, 6);
    return '';
  }),
];
const acts = fc.array(
  fc.oneof(...poison, ...firmware, ...features, ...events, ...capacity, ...rest),
  {
    minLength: 5,
    maxLength: 40,
  },
);

const MEMORIES = {
  'volatile-memdev': 256n,
  'persistent-memdev': 256n,
  lsa: 1n,
  'volatile-dc-memdev': 512n,
} as const;
type Memories = { [name in keyof typeof MEMORIES]: SparseBackend };
const memories = (of?: Memories): Memories => {
  const all = Object.entries(MEMORIES).map(([name, size]) => {
    const backend = new SparseBackend(name, size * MiB);
    const same = of?.[name as keyof Memories].memory;
    return [name, same === undefined ? backend : Object.assign(backend, { memory: same })] as const;
  });
  return Object.fromEntries(all) as Memories;
};
const start = (memory: Memories): Type3Bench => {
  const properties: Partial<Type3Properties> = { ...memory, 'num-dc-regions': 2 };
  const bench = Type3Bench.started({ teardown: () => undefined }, properties);
  bench.enableMsix();
  return bench;
};
/** Where two saved states differ first, as a path. */
const difference = (a: StateValue | undefined, b: StateValue | undefined): string | undefined => {
  if (typeof a !== 'object' || typeof b !== 'object' || a instanceof Uint8Array)
    return isDeepStrictEqual(a, b) ? undefined : `: ${String(a)} and ${String(b)}`;
  const [left, right] = [Object.entries(a), new Map(Object.entries(b))];
  for (const [name, value] of left) {
    const found = difference(value, right.get(name));
    if (found !== undefined) return `.${name}${found}`;
  }
  return left.length === right.size ? undefined : ': more members';
};
const look = (act: Act, bench: Type3Bench): string => `${act(bench)} ${bench.messages().join()}`;

t.test('a memory device goes on as if it had not been saved and loaded', async (t) => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(acts, acts, (before, after) => {
      const own = memories();
      const one = start(own);
      for (const act of before) look(act, one);
      const saved = encodeConfig(IDENTITY, one.device.save());
      const two = start(memories(own));
      two.clock.step(1000n * SECOND);
      two.device.load(decodeConfig(IDENTITY, saved));
      assert.equal(difference(one.device.save(), two.device.save()), undefined);
      for (const act of after) {
        const text = look(act, one);
        assert.equal(look(act, two), text);
        seen.add(text.slice(0, 6));
      }
      assert.equal(difference(one.device.save(), two.device.save()), undefined);
      one.device.unrealize();
      two.device.unrealize();
    }),
    { numRuns: RUNS },
  );
  t.ok(seen.size > 30, `${String(seen.size)} different answers`);
});
