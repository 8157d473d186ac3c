import fc from 'fast-check';
import t from 'tap';
import { cxlSwitchMailboxCci } from '../../../devices/cxl-switch-mailbox-cci/index.js';
import { cxlType3 } from '../../../devices/cxl-type3/index.js';
import { busOf, CxlBoard, HOST_REGISTERS, UNIT, WINDOW } from '../../support/cxl.js';
import { SparseBackend } from '../../support/sparse-memory.js';

// Whatever software does to registers, configuration space and windows, nothing throws.

const RUNS = Number(process.env['CXL_FUZZ_RUNS'] ?? 60);

const build = (): CxlBoard => {
  const board = new CxlBoard([{ targets: ['cx0', 'cx1'], size: 8n * UNIT }]);
  const [first, second] = [board.hostBridge('cx0', 52), board.hostBridge('cx1', 60)];
  const upstream = board.upstream(board.rootPort(first, 'rp0'), 'us0', { sn: 5n });
  const type3 = board.create(cxlType3, 'd0', {
    'volatile-memdev': new SparseBackend('v', UNIT),
    'persistent-memdev': new SparseBackend('p', UNIT),
    lsa: new SparseBackend('l', 0x10000n),
    'volatile-dc-memdev': new SparseBackend('dc', 2n * UNIT),
    ...{ 'num-dc-regions': 2, sn: 1n },
  });
  board.plug(type3, { bus: busOf(board.downstream(upstream, 'ds0', 3)) });
  const cci = board.create(cxlSwitchMailboxCci, 'cci', { target: upstream });
  board.plug(cci, {
    bus: busOf(board.deviceOf(first.functions[0]!.secondaryBus!.bridge!)),
    addr: 1,
  });
  board.memory(board.rootPort(second, 'rp1', 1), 'd1', UNIT);
  return board.start();
};

/** A value whose bits are likely to matter. */
const value = fc.oneof(
  fc.constantFrom(0, 1, 0x200, 0x8000_0000, 0xffff_ffff, 0x600, 0x1000_0000, 0x2),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);
const size = fc.constantFrom<1 | 2 | 4 | 8>(1, 2, 4, 8);
const configSize = fc.constantFrom<1 | 2 | 4>(1, 2, 4);
const which = fc.nat(30);
const barOffset = fc.oneof(
  fc.nat(0x1000),
  fc.integer({ min: 0x1000, max: 0x11b0 }),
  fc.integer({ min: 0x80, max: 0xc0 }),
);
const opcodes = fc.constantFrom(
  ...[0x0001, 0x0002, 0x0005, 0x0100, 0x0101, 0x0103, 0x0201, 0x0301, 0x0401, 0x0501, 0x0502],
  ...[0x4000, 0x4102, 0x4103, 0x4202, 0x4300, 0x4301, 0x4302, 0x4303, 0x4304, 0x4400, 0x4402],
  ...[0x4800, 0x4801, 0x4802, 0x4803, 0x5100, 0x5101, 0x5300, 0x5600, 0x5604, 0xffff],
);

type Step = (board: CxlBoard) => void;
const functionOf = (board: CxlBoard, index: number) => {
  const all = board.everyFunction();
  return all[index % all.length];
};
const step: fc.Arbitrary<Step> = fc.oneof(
  fc
    .tuple(which, fc.nat(0x220), configSize, value)
    .map(([index, offset, width, bits]): Step => (board) => {
      const fn = functionOf(board, index);
      fn?.writeConfig(offset, width, bits);
      fn?.readConfig(offset, width);
    }),
  fc
    .tuple(which, fc.constantFrom(0, 2, 4), barOffset, size, value)
    .map(([index, bar, offset, width, bits]): Step => (board) => {
      const fn = functionOf(board, index);
      fn?.writeConfig(4, 2, 6);
      fn?.writeBar(bar, offset, width, BigInt(bits));
      fn?.readBar(bar, offset, width);
    }),
  fc
    .tuple(which, fc.constantFrom(0, 2), opcodes, fc.uint8Array({ maxLength: 80 }))
    .map(([index, bar, opcode, input]): Step => (board) => {
      const fn = functionOf(board, index);
      fn?.writeConfig(4, 2, 6);
      fn?.writeBarBytes(bar, 0xa8, input);
      fn?.writeBar(bar, 0x90, 8, BigInt(opcode) | (BigInt(input.length) << 16n));
      fn?.writeBar(bar, 0x8c, 4, 1n);
    }),
  fc
    .tuple(fc.bigInt(0n, 8n * UNIT), fc.uint8Array({ minLength: 1, maxLength: 600 }))
    .map(([offset, bytes]): Step => ({ platform: { memory } }) => {
      memory.writeBytes(WINDOW + offset, bytes);
      memory.readBytes(WINDOW + offset, bytes.length);
    }),
  fc
    .tuple(fc.nat(0x2_2000), size, value)
    .map(([offset, width, bits]): Step => ({ platform: { memory } }) => {
      memory.write(HOST_REGISTERS + BigInt(offset), width, BigInt(bits));
      memory.read(HOST_REGISTERS + BigInt(offset), width);
    }),
  fc.constant<Step>((board) => board.clock.step(1_000_000_000n)),
  fc.constant<Step>((board) => board.reset()),
  which.map((index): Step => (board) => {
    const fn = functionOf(board, index);
    if (fn === undefined) return;
    const device = board.deviceOf(fn);
    device.load(device.save());
  }),
);

t.test('random work on every register of a machine with CXL', async (t) => {
  const steps = fc.array(step, { minLength: 100, maxLength: 300, size: 'max' });
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(steps, (all) => {
        const board = build();
        for (const run of all) run(board);
      }),
      { numRuns: RUNS },
    ),
  );
});
