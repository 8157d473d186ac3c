import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { edu } from '../../devices/edu/index.js';
import { BUFFER, DMA, REGISTER, STATUS } from '../../devices/edu/registers.js';
import { startMachine } from '../support/machine.js';
import { refereeMissing, startReferee, type Qtest } from '../support/referee.js';
import { fakeMemory, TestBoard } from '../support/test-board.js';

const BASE = 0xe000_0000;
const DEVFN = 5 << 3;
const MEMORY = (1 << 2) | (1 << 1);
const RAM = 0x10_0000n;
const MS = 1_000_000n;

/** An edu at 05.0 of q35, its BAR at 0xe0000000. */
const mapped = (values: Record<string, unknown> = {}) => {
  const ram = fakeMemory(RAM);
  const board = new TestBoard('q35', { ramSize: RAM, ram: () => ram });
  const device = board.plug(board.create(edu, 'e', values), { addr: DEVFN });
  board.start();
  board.setConfig(DEVFN, 0x10, BASE);
  board.setConfig(DEVFN, 0x04, MEMORY, 2);
  const { memory, interrupts } = board.platform;
  const irqs: string[] = [];
  interrupts.onChange((input, level) => irqs.push(`${level ? 'raise' : 'lower'} ${String(input)}`));
  const at = (offset: number): bigint => BigInt(BASE + offset);
  return {
    board,
    device,
    memory,
    irqs,
    read: (offset: number, size: 1 | 2 | 4 | 8 = 4) => memory.read(at(offset), size),
    write: (offset: number, value: bigint, size: 1 | 2 | 4 | 8 = 4) =>
      memory.write(at(offset), size, value),
    status: () => board.config(DEVFN, 0x06, 2),
  };
};
type Mapped = ReturnType<typeof mapped>;

const transfer = (
  { write }: Pick<Mapped, 'write'>,
  from: bigint,
  to: bigint,
  count: bigint,
  command: bigint,
): void => {
  write(REGISTER.DMA_SOURCE, from, 8);
  write(REGISTER.DMA_DESTINATION, to, 8);
  write(REGISTER.DMA_COUNT, count, 8);
  write(REGISTER.DMA_COMMAND, command | DMA.RUN, 8);
};

t.test('INTx reaches input 21 from slot 5 of q35, and its gates (vector 26)', async (t) => {
  const { board, irqs, write, status } = mapped();
  write(REGISTER.INTERRUPT_RAISE, 1n);
  t.strictSame([irqs.splice(0), status()], [['raise 21'], 0x18]);
  board.setConfig(DEVFN, 0x04, MEMORY | 0x400, 2);
  t.strictSame([irqs.splice(0), status()], [['lower 21'], 0x18]);
  board.setConfig(DEVFN, 0x04, MEMORY, 2);
  t.strictSame(irqs.splice(0), ['raise 21']);
  write(REGISTER.INTERRUPT_ACKNOWLEDGE, 1n);
  t.strictSame([irqs.splice(0), status()], [['lower 21'], 0x10]);
});

t.test('the factorial is there at once, and interrupts when asked to', async (t) => {
  const { read, write, irqs } = mapped();
  for (const [of, product] of [
    [0n, 1n],
    [5n, 120n],
    [13n, 1932053504n],
    [33n, 2147483648n],
    [34n, 0n],
    [0xffffffffn, 0n],
  ] as const) {
    write(REGISTER.FACTORIAL, of);
    t.strictSame([read(REGISTER.FACTORIAL), read(REGISTER.STATUS)], [product, 0n], String(of));
  }
  t.strictSame(irqs, []);
  write(REGISTER.STATUS, STATUS.INTERRUPT);
  write(REGISTER.FACTORIAL, 4n);
  t.strictSame([read(REGISTER.INTERRUPT_STATUS), irqs], [1n, ['raise 21']]);
});

t.test('an MSI is a write to memory that passes the bus master gate', async (t) => {
  const { board, memory, write, irqs } = mapped();
  board.setConfig(DEVFN, 0x44, 0x2000);
  board.setConfig(DEVFN, 0x4c, 0xcafe, 2);
  board.setConfig(DEVFN, 0x42, 1, 2);
  write(REGISTER.INTERRUPT_RAISE, 1n);
  t.equal(memory.readBytes(0x2000n, 4).toString(), '254,202,0,0');
  memory.write(0x2000n, 4, 0n);
  board.setConfig(DEVFN, 0x04, 2, 2);
  write(REGISTER.INTERRUPT_RAISE, 1n);
  t.equal(memory.readBytes(0x2000n, 4).toString(), '0,0,0,0', 'not while it is no master');
  t.strictSame(irqs, []);
});

t.test('DMA moves bytes 100 ms of the machine later', async (t) => {
  const all = mapped();
  const { board, memory, read, write } = all;
  memory.writeBytes(0x1000n, Uint8Array.of(1, 2, 3, 4));
  transfer(all, 0x1000n, BUFFER.base, 4n, DMA.INTERRUPT);
  write(REGISTER.DMA_COUNT, 1n);
  t.equal(read(REGISTER.DMA_COUNT), 4n, 'nothing changes while it runs');
  board.clock.step(100n * MS - 1n);
  t.equal(read(REGISTER.DMA_COMMAND), 5n);
  board.clock.step(1n);
  t.strictSame([read(REGISTER.DMA_COMMAND), read(REGISTER.INTERRUPT_STATUS)], [4n, 0x100n]);
  transfer(all, BUFFER.base + 1n, 0x2000n, 2n, DMA.TO_MEMORY);
  board.clock.step(100n * MS);
  t.strictSame([...memory.readBytes(0x2000n, 3)], [2, 3, 0]);
});

t.test('DMA keeps to its buffer, to its mask and to the bus master gate', async (t) => {
  const all = mapped({ dma_mask: 0xffffn });
  const { board, memory, read } = all;
  const run = (from: bigint, to: bigint, count: bigint, command: bigint): void => {
    transfer(all, from, to, count, command);
    board.clock.step(100n * MS);
  };
  memory.writeBytes(0x1000n, new Uint8Array(0x1001).fill(7));
  run(0x8_1000n, BUFFER.base, 0x1000n, 0n);
  run(BUFFER.base, 0x4_8000n, 0x1000n, DMA.TO_MEMORY);
  t.strictSame([...memory.readBytes(0x8fffn, 2)], [7, 0], 'cut to the mask; all of the buffer');
  for (const [address, count] of [
    [BUFFER.base + 1n, 0x1000n],
    [BUFFER.base - 1n, 1n],
    [0n, 1n << 63n],
    [(1n << 64n) - 1n, 1n],
  ] as const) {
    run(address, 0x9000n, count, DMA.TO_MEMORY | DMA.INTERRUPT);
    t.strictSame([memory.read(0x9000n, 1), read(REGISTER.DMA_COMMAND)], [0n, 6n]);
  }
  board.setConfig(DEVFN, 0x04, 2, 2);
  run(BUFFER.base, 0x9000n, 1n, DMA.TO_MEMORY);
  t.equal(memory.read(0x9000n, 1), 0n, 'no master');
});

t.test('everything goes along in a saved state, a running transfer too', async (t) => {
  const from = mapped();
  from.board.clock.step(3n * MS);
  from.memory.writeBytes(0x1000n, Uint8Array.of(9));
  from.write(REGISTER.LIVENESS, 0x12345678n);
  from.write(REGISTER.STATUS, STATUS.INTERRUPT);
  from.write(REGISTER.FACTORIAL, 5n);
  transfer(from, 0x1000n, BUFFER.base, 1n, 0n);
  from.board.clock.step(60n * MS);
  const to = mapped();
  to.memory.writeBytes(0x1000n, Uint8Array.of(9));
  to.device.load(from.device.save());
  t.strictSame(
    [REGISTER.LIVENESS, REGISTER.FACTORIAL, REGISTER.STATUS, REGISTER.INTERRUPT_STATUS].map(
      (offset) => to.read(offset),
    ),
    [0xedcba987n, 120n, 0x80n, 1n],
  );
  t.strictSame(to.irqs, ['raise 21']);
  to.board.clock.step(40n * MS - 1n);
  t.equal(to.read(REGISTER.DMA_COMMAND), 1n);
  to.board.clock.step(1n);
  t.equal(to.read(REGISTER.DMA_COMMAND), 0n);
  t.strictSame(to.device.save()['dma'], {
    ...(from.board.clock.step(40n * MS), from.device.save()['dma'] as object),
  });
  const good = from.device.save();
  for (const state of [
    {},
    { ...good, dma: {} },
    { ...good, dma: { ...(good['dma'] as object), buffer: 0 } },
    { ...good, dma: { ...(good['dma'] as object), left: 0 } },
    { ...good, pci: {} },
  ])
    t.throws(() => to.device.load(state as never), /^saved /);
  void from.device.unrealize();
});

t.test('-global sets the mask for every edu', async (t) => {
  const globals = ['-global', 'edu.dma_mask=0xffff', '-device', 'edu,id=a'];
  const { run } = await startMachine(t, [
    '-M',
    'q35',
    ...globals,
    '-device',
    'edu,id=b,dma_mask=1',
  ]);
  const mask = (id: string): Promise<unknown> =>
    run('qom-get', { path: `/machine/peripheral/${id}`, property: 'dma_mask' });
  t.strictSame([await mask('a'), await mask('b')], [0xffffn, 1n]);
});

/** Register, width, value; a read when there is no value. */
type Access = readonly [offset: number, size: 1 | 2 | 4 | 8, value?: bigint];

const WIDTHS = [1, 2, 4, 8] as const;
const ACCESSES: readonly Access[] = [
  ...Object.values(REGISTER).flatMap((offset) => WIDTHS.map((size): Access => [offset, size])),
  [REGISTER.LIVENESS, 4, 0xa5a5n],
  [REGISTER.LIVENESS, 4],
  [REGISTER.LIVENESS, 8, 1n],
  [REGISTER.LIVENESS, 4],
  [REGISTER.IDENTIFICATION, 4, 1n],
  [REGISTER.IDENTIFICATION, 4],
  [REGISTER.STATUS, 4, 0xffffffffn],
  [REGISTER.STATUS, 4],
  [REGISTER.INTERRUPT_RAISE, 4, 0xf0f0f0f0n],
  [REGISTER.INTERRUPT_STATUS, 4],
  [REGISTER.INTERRUPT_ACKNOWLEDGE, 4, 0xf0000000n],
  [REGISTER.INTERRUPT_STATUS, 4],
  [REGISTER.INTERRUPT_ACKNOWLEDGE, 4, 0xffffffffn],
  [REGISTER.INTERRUPT_STATUS, 4],
  [REGISTER.DMA_SOURCE, 8, 0x1122334455667788n],
  [REGISTER.DMA_SOURCE, 8],
  [REGISTER.DMA_SOURCE, 4],
  [REGISTER.DMA_SOURCE + 4, 4],
  [REGISTER.DMA_SOURCE, 4, 0xffffn],
  [REGISTER.DMA_SOURCE, 8],
  [REGISTER.DMA_COMMAND, 8, 6n],
  [REGISTER.DMA_COMMAND, 8],
  [0xa0, 8],
  [0xffffc, 4],
];
const LETTER = { 1: 'b', 2: 'w', 4: 'l', 8: 'q' } as const;

const setUp = async (qemu: Qtest): Promise<void> => {
  const put = async (register: number, value: number): Promise<void> => {
    await qemu.ask(`outl 0xcf8 ${String(0x8000_0000 + DEVFN * 256 + register)}`);
    await qemu.ask(`outl 0xcfc ${String(value)}`);
  };
  await put(0x10, BASE);
  await put(0x04, MEMORY);
};

t.test('registers answer as those of QEMU 7.2', { skip: refereeMissing() }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'qmemd-edu-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  // A processor that stops at once, so that nobody else uses the memory and the clock runs.
  const bios = Buffer.alloc(0x10000, 0);
  bios.set([0xfa, 0xf4, 0xeb, 0xfc], 0xfff0);
  writeFileSync(join(dir, 'bios'), bios);
  const qemu = await startReferee(t, [
    ...['-M', 'q35', '-nodefaults', '-bios', join(dir, 'bios'), '-device', 'edu,addr=5'],
    ...['-global', 'edu.dma_mask=65535'],
  ]);
  await setUp(qemu);
  const { board, read, write, memory } = mapped({ dma_mask: 0xffffn });
  const config = Uint8Array.from({ length: 256 }, (_, at) => board.config(DEVFN, at, 1));
  t.strictSame(
    Buffer.from(config).toString('hex'),
    Buffer.from(await qemu.config(DEVFN)).toString('hex'),
  );
  const done = async (register: number, busy: bigint): Promise<bigint> => {
    for (;;) {
      const value = BigInt(await qemu.ask(`readl ${String(BASE + register)}`));
      if ((value & busy) === 0n) return value;
    }
  };
  for (const [offset, size, value] of ACCESSES) {
    const where = `${LETTER[size]} ${String(BASE + offset)}`;
    const name = `${String(size)} bytes at ${String(offset)}, ${String(value)}`;
    if (value === undefined) {
      t.equal(read(offset, size), BigInt(await qemu.ask(`read${where}`)), name);
      continue;
    }
    write(offset, value, size);
    await qemu.ask(`write${where} ${String(value)}`);
    // The second half of a wide write may begin to compute, which QEMU does in a thread.
    await done(REGISTER.STATUS, 1n);
  }
  const both = async (offset: number, value: bigint): Promise<void> => {
    write(offset, value, offset < 0x80 ? 4 : 8);
    await qemu.ask(`write${offset < 0x80 ? 'l' : 'q'} ${String(BASE + offset)} ${String(value)}`);
  };
  await both(REGISTER.FACTORIAL, 12n);
  t.equal(read(REGISTER.STATUS), await done(REGISTER.STATUS, 1n));
  t.equal(read(REGISTER.FACTORIAL), await done(REGISTER.FACTORIAL, 0n));
  // The thread interrupts after it has told that it is done.
  let raised = 0n;
  for (let tries = 0; raised === 0n && tries < 5000; tries++)
    raised = await done(REGISTER.INTERRUPT_STATUS, 0n);
  t.equal(read(REGISTER.INTERRUPT_STATUS), raised);
  memory.writeBytes(0x1000n, Buffer.from('01020304', 'hex'));
  await qemu.ask('write 0x1000 4 0x01020304');
  for (const [from, to, command] of [
    [0x5_1000n, BUFFER.base + 16n, DMA.RUN | DMA.INTERRUPT],
    [BUFFER.base + 15n, 0x7_2000n, DMA.RUN | DMA.TO_MEMORY],
  ] as const) {
    await both(REGISTER.DMA_SOURCE, from);
    await both(REGISTER.DMA_DESTINATION, to);
    await both(REGISTER.DMA_COUNT, 4n);
    await both(REGISTER.DMA_COMMAND, command);
    board.clock.step(100n * MS);
    t.equal(read(REGISTER.DMA_COMMAND), await done(REGISTER.DMA_COMMAND, DMA.RUN));
    t.equal(read(REGISTER.INTERRUPT_STATUS), await done(REGISTER.INTERRUPT_STATUS, 0n));
  }
  t.strictSame(
    Buffer.from(memory.readBytes(0x2000n, 8)),
    Buffer.from(await qemu.memory(0x2000, 8)),
  );
});
