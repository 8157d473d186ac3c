import fc from 'fast-check';
import t from 'tap';
import type { PciDevice } from '../../../devices/pci/function.js';
import { componentOf, CxlBoard, program, UNIT, WINDOW } from '../../support/cxl.js';
import type { SparseBackend } from '../../support/sparse-memory.js';

/** A tree of 2^bridges host bridges, each with 2^ports ports, half of them with a switch. */
interface Shape {
  /** log2 of the fan-out of window, bridge and switch. */
  readonly bridges: number;
  readonly ports: number;
  readonly below: number;
  /** Which level's interleave is finest: the order of their granularities. */
  readonly order: readonly ('window' | 'bridge' | 'switch')[];
  /** Code of the finest granularity. */
  readonly finest: number;
}

const shapes: fc.Arbitrary<Shape> = fc
  .record({
    bridges: fc.integer({ min: 0, max: 1 }),
    ports: fc.integer({ min: 0, max: 2 }),
    below: fc.integer({ min: 0, max: 2 }),
    order: fc.shuffledSubarray(['window', 'bridge', 'switch'] as const, { minLength: 3 }),
    finest: fc.integer({ min: 0, max: 1 }),
  })
  // No device takes part in an interleave of more than 16 ways.
  .filter(({ bridges, ports, below }) => bridges + ports + below <= 4);

/** Codes of the granularity of each level: the finer ones first, each as wide as all below. */
const granularities = ({ bridges, ports, below, order, finest }: Shape) => {
  const bits = { window: bridges, bridge: ports, switch: below };
  const codes = { window: 0, bridge: 0, switch: 0 };
  let code = finest;
  for (const level of order) {
    codes[level] = code;
    code += bits[level];
  }
  return codes;
};

interface Built {
  readonly board: CxlBoard;
  readonly backends: readonly SparseBackend[];
}

/** Builds the tree and programs every decoder for one interleave set over all devices. */
const build = (shape: Shape): Built => {
  const codes = granularities(shape);
  const [bridges, ports, below] = [1 << shape.bridges, 1 << shape.ports, 1 << shape.below];
  const count = bridges * ports * below;
  const [base, size] = [WINDOW, UNIT * BigInt(count)];
  const targets = Array.from({ length: bridges }, (_, i) => `cx${String(i)}`);
  const granularity = 1n << BigInt(8 + codes.window);
  const board = new CxlBoard([{ targets, size, granularity }]);
  const devices: { device: PciDevice; backend: SparseBackend }[] = [];
  const switches: PciDevice[] = [];
  for (const [b, id] of targets.entries()) {
    const bus = board.hostBridge(id, 50 + b, { hdm_for_passthrough: true });
    for (let p = 0; p < ports; p++) {
      const upstream = board.upstream(
        board.rootPort(bus, `${id}p${String(p)}`, p),
        `${id}u${String(p)}`,
      );
      switches.push(upstream);
      for (let d = 0; d < below; d++) {
        const name = `${id}p${String(p)}d${String(d)}`;
        devices.push(board.memory(board.downstream(upstream, name, d), `${name}m`, UNIT));
      }
    }
  }
  board.start();
  const list = (length: number): number[] => Array.from({ length }, (_, i) => i);
  for (let b = 0; b < bridges; b++)
    program(board.bridgeRegisters(b), 0, {
      ...{ base, size, ways: ports, granularity: codes.bridge, targets: list(ports) },
    });
  for (const upstream of switches)
    program(componentOf(upstream), 0, {
      ...{ base, size, ways: below, granularity: codes.switch, targets: list(below) },
    });
  for (const { device } of devices)
    program(componentOf(device), 0, { base, size, ways: count, granularity: shape.finest });
  return { board, backends: devices.map(({ backend }) => backend) };
};

/** Where the model says that an offset of the window lands: device and address in it. */
const model = (shape: Shape, offset: bigint): { device: number; dpa: bigint } => {
  const codes = granularities(shape);
  const address = WINDOW + offset;
  const pick = (code: number, bits: number): number =>
    Number((address >> BigInt(8 + code)) & ((1n << BigInt(bits)) - 1n));
  const bridge = pick(codes.window, shape.bridges);
  const port = pick(codes.bridge, shape.ports);
  const below = pick(codes.switch, shape.below);
  const granule = 1n << BigInt(8 + shape.finest);
  const count = 1n << BigInt(shape.bridges + shape.ports + shape.below);
  return {
    device: ((bridge << shape.ports) + port) * (1 << shape.below) + below,
    dpa: (offset / (granule * count)) * granule + (offset % granule),
  };
};

t.test('every byte of a window lands where a model says, and comes back', async (t) => {
  const offsets = fc.uniqueArray(fc.integer({ min: 0, max: 2 ** 20 }), {
    minLength: 1,
    maxLength: 12,
  });
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(shapes, offsets, (shape, places) => {
        const { board, backends } = build(shape);
        const { memory } = board.platform;
        for (const [i, place] of places.entries())
          memory.write(WINDOW + BigInt(place), 1, BigInt(i + 1));
        return places.every((place, i) => {
          const { device, dpa } = model(shape, BigInt(place));
          const stored = backends[device]?.memory.readInt(dpa, 1);
          return stored === BigInt(i + 1) && memory.read(WINDOW + BigInt(place), 1) === stored;
        });
      }),
      { numRuns: Number(process.env['QMEMD_ROUTING_RUNS'] ?? 20) },
    ),
  );
});

t.test('long runs are the same bytes as single ones', async (t) => {
  const shape: Shape = {
    ...{ bridges: 1, ports: 1, below: 2, finest: 0 },
    order: ['switch', 'window', 'bridge'],
  };
  const { board } = build(shape);
  const { memory } = board.platform;
  const bytes = Uint8Array.from({ length: 9000 }, (_, i) => (i * 7) % 256);
  memory.writeBytes(WINDOW + 77n, bytes);
  t.strictSame(memory.readBytes(WINDOW + 77n, bytes.length), bytes);
  for (const at of [0, 178, 179, 180, 435, 8999])
    t.equal(memory.read(WINDOW + 77n + BigInt(at), 1), BigInt(bytes[at] ?? -1), String(at));
});

t.test('a saved machine part goes on elsewhere', async (t) => {
  const shape: Shape = {
    ...{ bridges: 0, ports: 1, below: 1, finest: 0 },
    order: ['window', 'bridge', 'switch'],
  };
  const [one, other] = [build(shape), build(shape)];
  other.board.reset();
  for (const fn of one.board.everyFunction()) {
    const saved = one.board.deviceOf(fn).save();
    const twin = other.board.everyFunction().find(({ id }) => id === fn.id);
    if (twin === undefined) throw new Error('no twin');
    const device = other.board.deviceOf(twin);
    device.load(saved);
    t.strictSame(device.save(), saved, fn.id ?? '');
    t.throws(() => device.load({ config: new Uint8Array(4) }), { message: /fit|saved/ });
    t.strictSame(device.save(), saved, 'a refused state changes nothing');
  }
  other.board.platform.memory.write(WINDOW + 0x300n, 1, 5n);
  t.equal(other.backends[3]?.memory.readInt(0n, 1), 5n, 'the decoders are those of the other one');
});
