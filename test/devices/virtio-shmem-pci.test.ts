import t from 'tap';
import type { DeviceState } from '../../devices/core/device.js';
import type { MemdevBackend } from '../../devices/core/memdev.js';
import { VirtioShmemPci } from '../../devices/virtio-shmem-pci/device.js';
import { virtioShmemPci } from '../../devices/virtio-shmem-pci/index.js';
import { LEGACY } from '../../devices/virtio-shmem-pci/registers.js';
import { COMMON, PART } from '../../devices/virtio/registers.js';
import { ArrayMemory, fakeMemdev } from '../support/pci.js';
import { refereeMissing, startReferee } from '../support/referee.js';
import { TestBoard } from '../support/test-board.js';

const DEVFN = 5 << 3;
const BASE = 0xe000_0000;
const MEMORY = 0x10_0000_0000n;
const MiB = 1 << 20;

/** A backend that claims to be larger than its array; only what is there is touched. */
class LargeMemory extends ArrayMemory {
  readonly #size: bigint;
  constructor(size: bigint) {
    super(8192);
    this.#size = size;
  }
  override get size(): bigint {
    return this.#size;
  }
}
const large = (size: bigint, id: string): MemdevBackend => ({
  ...fakeMemdev(4096, id),
  memory: new LargeMemory(size),
});

const placed = (values: Record<string, unknown>) => {
  const board = new TestBoard('q35');
  const device = board.plug(board.create(virtioShmemPci, 'v', values), { addr: DEVFN });
  board.start();
  board.setConfig(DEVFN, 0x10, 0xc001);
  board.setConfig(DEVFN, 0x14, BASE + 0x1_0000);
  board.setConfig(DEVFN, 0x18, BASE);
  board.setConfig(DEVFN, 0x20, Number(MEMORY & 0xffffffffn));
  board.setConfig(DEVFN, 0x24, Number(MEMORY >> 32n));
  board.setConfig(DEVFN, 0x04, 7, 2);
  const { memory, io } = board.platform;
  return {
    board,
    device,
    memory,
    read: (offset: number, size: 1 | 2 | 4 | 8 = 4) => memory.read(BigInt(BASE + offset), size),
    write: (offset: number, value: number, size: 1 | 2 | 4 | 8 = 4) =>
      memory.write(BigInt(BASE + offset), size, BigInt(value)),
    port: (offset: number, size: 1 | 2 | 4 = 4) => io.read(BigInt(0xc000 + offset), size),
    setPort: (offset: number, value: number, size: 1 | 2 | 4 = 4) =>
      io.write(BigInt(0xc000 + offset), size, BigInt(value)),
  };
};
type Placed = ReturnType<typeof placed>;

/** The regions that the capability list tells of, as a driver finds them. */
const listed = ({ board }: Placed) => {
  const found: { bar: number; shmid: number; offset: bigint; length: bigint }[] = [];
  for (let at = board.config(DEVFN, 0x34, 1); at !== 0; at = board.config(DEVFN, at + 1, 1)) {
    if (board.config(DEVFN, at, 1) !== 9 || board.config(DEVFN, at + 3, 1) !== 8) continue;
    const wide = (low: number): bigint =>
      (BigInt(board.config(DEVFN, at + low + 8)) << 32n) | BigInt(board.config(DEVFN, at + low));
    if (board.config(DEVFN, at + 2, 1) !== 24 || board.config(DEVFN, at + 6, 2) !== 0)
      throw new Error('malformed capability');
    found.unshift({
      bar: board.config(DEVFN, at + 4, 1),
      shmid: board.config(DEVFN, at + 5, 1),
      offset: wide(8),
      length: wide(12),
    });
  }
  return found;
};
/** The regions that the device configuration tells of. */
const configured = ({ read }: Placed) =>
  Array.from({ length: 16 }, (_, region) => {
    const entry = PART.DEVICE + 8 + 24 * region;
    return { shmid: read(entry), offset: read(entry + 8, 8), length: read(entry + 16, 8) };
  }).filter(({ length }) => length !== 0n);

const GiB = 1n << 30n;

t.test('regions and places beyond 4 GiB are exact', async (t) => {
  const all = placed({
    memdev0: large(6n * GiB + 0x3000n, 'a'),
    memdev1: fakeMemdev(0x3000, 'b'),
    memdev7: large(1n << 40n, 'c'),
    shmid1: 200,
  });
  const second = 6n * GiB + 0x3000n;
  const third = 6n * GiB + (2n << 20n);
  t.strictSame(listed(all), [
    { bar: 4, shmid: 0, offset: 0n, length: second },
    { bar: 4, shmid: 200, offset: second, length: 0x3000n },
    { bar: 4, shmid: 7, offset: third, length: 1n << 40n },
  ]);
  t.equal(all.read(PART.DEVICE), 3n);
  t.strictSame(configured(all), [
    { shmid: 0n, offset: 0n, length: second },
    { shmid: 200n, offset: second, length: 0x3000n },
    { shmid: 7n, offset: third, length: 1n << 40n },
  ]);
  const bar = all.device.pci.bars.find(({ index }) => index === 4);
  t.match(bar, { size: 1n << 41n, bits64: true, prefetch: true });
});

t.test('a region is the memory of its backend, byte by byte', async (t) => {
  const [a, b] = [fakeMemdev(MiB, 'a'), fakeMemdev(MiB, 'b')];
  const all = placed({ memdev0: a, memdev3: b, shmid3: 9 });
  const { offset } = listed(all)[1] ?? { offset: -1n };
  all.memory.write(MEMORY + offset + 5n, 1, 0xaan);
  t.strictSame([b.memory.bytes[5], a.memory.bytes[5]], [0xaa, 0]);
  a.memory.bytes[MiB - 1] = 7;
  t.equal(all.memory.read(MEMORY + offset - 1n, 1), 7n);
  t.equal(all.memory.read(MEMORY + 2n * BigInt(MiB), 1), 0n, 'behind the last one is nothing');
});

t.test('all 16 are in the device configuration, as many as fit in the list', async (t) => {
  const memdevs = Array.from({ length: 16 }, (_, i) => fakeMemdev(4096, `m${String(i)}`));
  const values = Object.fromEntries(memdevs.map((memdev, i) => [`memdev${String(i)}`, memdev]));
  const ids = (all: Placed): number[] => listed(all).map(({ shmid }) => shmid);
  const all = placed(values);
  t.strictSame(ids(all), [0, 1, 2]);
  t.strictSame(
    configured(all).map(({ offset }) => offset),
    memdevs.map((_, i) => BigInt(4096 * i)),
  );
  void all.device.unrealize();
  t.ok(memdevs.every((memdev) => memdev.owner() === undefined));
  t.strictSame(ids(placed({ ...values, vectors: 0 })), [0, 1, 2, 3], 'without MSI-X one more');
});

t.test('what cannot be leaves every backend free', async (t) => {
  const context = new TestBoard('none').context('v', 'virtio-shmem-pci');
  const defaults = Object.fromEntries(
    Object.entries(virtioShmemPci.properties).map(([name, { default: value }]) => [name, value]),
  );
  const busy = fakeMemdev(4096, 'busy');
  busy.claim('/somebody');
  const free = fakeMemdev(4096, 'free');
  for (const [values, message] of [
    [{}, "You must specify a 'memdev0', or up to 'memdev15'"],
    [{ memdev0: free, memdev1: busy }, "can't use already busy memdev: busy"],
    [{ memdev0: free, memdev1: free }, "can't use already busy memdev: free"],
    [{ memdev0: free, memdev4: busy, shmid4: 0 }, 'regions 0 and 4 have the same shmid 0'],
    [{ memdev0: free, vectors: 2049 }, 'The number of MSI-X vectors is invalid'],
    [{ memdev0: free, 'virtio-id': 0 }, 'virtio-id must be from 1 to 63, not 0'],
    [{ memdev0: free, 'virtio-id': 64 }, 'virtio-id must be from 1 to 63, not 64'],
  ] as const) {
    const device = new VirtioShmemPci(context, { ...defaults, ...values } as never);
    t.throws(() => device.realize(), { class: 'GenericError', message });
    t.strictSame([free.owner(), device.pci.bars], [undefined, []]);
  }
});

const negotiate = ({ write }: Placed, low: number, high: number): void => {
  write(COMMON.DRIVER_FEATURE_SELECT, 0);
  write(COMMON.DRIVER_FEATURE, low);
  write(COMMON.DRIVER_FEATURE_SELECT, 1);
  write(COMMON.DRIVER_FEATURE, high);
  write(COMMON.DEVICE_STATUS, 11, 1);
};

t.test('features are agreed on before the device works', async (t) => {
  const all = placed({ memdev0: fakeMemdev() });
  const { read, write, board } = all;
  const status = (): bigint => read(COMMON.DEVICE_STATUS, 1);
  for (const [low, high, wanted] of [
    [0, 1, 11n],
    [0, 0, 3n],
    [1, 1, 3n],
    [0, 3, 3n],
  ] as const) {
    write(COMMON.DEVICE_STATUS, 0, 1);
    negotiate(all, low, high);
    t.equal(status(), wanted, `${String(low)}, ${String(high)}`);
  }
  write(COMMON.DEVICE_STATUS, 0, 1);
  negotiate(all, 0, 1);
  write(COMMON.DRIVER_FEATURE, 3);
  t.equal(read(COMMON.DRIVER_FEATURE), 1n, 'agreed features stay');
  write(COMMON.DEVICE_STATUS, 15, 1);
  t.equal(status(), 15n);
  for (const reset of [
    () => write(COMMON.DEVICE_STATUS, 0, 1),
    () => board.reset(),
    () => all.device.reset('cold'),
  ]) {
    negotiate(all, 0, 1);
    write(COMMON.CONFIG_MSIX_VECTOR, 0, 2);
    reset();
    board.setConfig(DEVFN, 0x18, BASE);
    board.setConfig(DEVFN, 0x04, 7, 2);
    t.strictSame(
      [status(), read(COMMON.DRIVER_FEATURE), read(COMMON.CONFIG_MSIX_VECTOR, 2)],
      [0n, 0n, 0xffffn],
    );
  }
});

t.test('the layout of 2010 is there on request, with values that fit (§9.6)', async (t) => {
  const plain = placed({ memdev0: fakeMemdev() });
  t.equal(plain.port(0), 0xffffffffn, 'no ports');
  t.equal(plain.read(COMMON.DEVICE_FEATURE), 0n, 'no feature');
  const all = placed({
    memdev0: fakeMemdev(0x3000, 'a'),
    memdev2: large(5n * GiB, 'b'),
    'x-legacy-mem-regions': true,
  });
  const { port, setPort, board } = all;
  t.equal(port(LEGACY.DEVICE_FEATURES), 1n << 23n, 'a feature bit tells drivers of the layout');
  const select = (region: number): bigint[] => {
    setPort(LEGACY.MEM_SEL, region, 2);
    return [port(LEGACY.MEM_SEL, 2), port(LEGACY.MEM_SIZE), port(LEGACY.MEM_PFN)];
  };
  const exact = (): bigint[] => [port(36) | (port(40) << 32n), port(44) | (port(48) << 32n)];
  t.strictSame(select(0), [0n, 0x3000n, 0xffffffffn]);
  t.strictSame(exact(), [0x3000n, MEMORY]);
  t.strictSame(select(1), [1n, 0n, 0n], 'no such region');
  t.strictSame(select(2), [2n, 0xffffffffn, 0xffffffffn], 'not truncated');
  t.strictSame(exact(), [5n * GiB, MEMORY + (2n << 20n)]);
  for (const ignored of [16, 63, 0xffff]) t.equal(select(ignored)[0], 2n);
  board.setConfig(DEVFN, 0x24, 0);
  board.setConfig(DEVFN, 0x20, 0);
  t.strictSame(exact(), [5n * GiB, 0n], 'unmapped');
  setPort(LEGACY.CONFIG_VECTOR, 0, 2);
  t.equal(port(LEGACY.CONFIG_VECTOR, 2), 0n);
  setPort(LEGACY.STATUS, 3, 1);
  t.equal(all.read(COMMON.DEVICE_STATUS, 1), 3n, 'one device, seen two ways');
  setPort(LEGACY.DRIVER_FEATURES, 1 << 23);
  t.equal(port(LEGACY.DRIVER_FEATURES), 1n << 23n);
  setPort(LEGACY.STATUS, 0, 1);
  t.strictSame([port(LEGACY.STATUS, 1), port(LEGACY.DRIVER_FEATURES)], [0n, 0n]);
  t.equal(port(60), 0n);
  const without = placed({
    ...{ memdev0: fakeMemdev(0x3000), vectors: 0, 'x-legacy-mem-regions': true },
  });
  t.equal(without.port(32), 0x3000n, 'without MSI-X the configuration comes earlier');
});

t.test('its state goes along, the memory stays', async (t) => {
  const values = () => ({ memdev0: fakeMemdev(), 'x-legacy-mem-regions': true });
  const from = placed(values());
  negotiate(from, 0, 1);
  from.write(COMMON.CONFIG_MSIX_VECTOR, 0, 2);
  from.setPort(LEGACY.MEM_SEL, 3, 2);
  const to = placed(values());
  const state = from.device.save();
  to.device.load(state);
  t.strictSame(to.device.save(), state);
  t.strictSame(
    [to.read(COMMON.DEVICE_STATUS, 1), to.read(COMMON.CONFIG_MSIX_VECTOR, 2), to.port(20, 2)],
    [11n, 0n, 3n],
  );
  const transport = state['transport'] as DeviceState;
  for (const bad of [
    {},
    { ...state, transport: {} },
    { ...state, transport: { ...transport, status: 0x100 } },
    { ...state, transport: { ...transport, status: 0.5 } },
    { ...state, transport: { ...transport, configVector: -1 } },
    { ...state, transport: { ...transport, driverFeatures: 1n << 64n } },
    { ...state, pci: {} },
    { ...state, selected: '' },
  ])
    t.throws(() => to.device.load(bad as never), /^saved /);
  t.strictSame(to.device.save(), state);
});

/** Offset in the register BAR, width, value to write; a read without one. */
const STEPS: readonly (readonly [offset: number, size: 1 | 2 | 4, value?: number])[] = [
  ...[0x00, 0x08, 0x0c, 0x10, 0x14, 0x1a, 0x1c, 0x20, 0x24, 0x28, 0x38].flatMap((offset) =>
    ([1, 2, 4] as const).map((size) => [offset, size] as const),
  ),
  ...[0x15, 0x16].flatMap((offset) => ([1, 2] as const).map((size) => [offset, size] as const)),
  ...[0x01, 0x11, 0x17, 0x3c, 0x100, 0xffc].map((offset) => [offset, 1] as const),
  [PART.ISR, 1],
  [PART.ISR + 4, 4],
  [PART.DEVICE + 0x800, 4],
  [PART.DEVICE + 0xffc, 1],
  [PART.NOTIFY, 2],
  [COMMON.DEVICE_FEATURE_SELECT, 4, 2],
  [COMMON.DEVICE_FEATURE_SELECT, 4],
  [COMMON.DEVICE_FEATURE, 4],
  [COMMON.DRIVER_FEATURE_SELECT, 4, 1],
  [COMMON.DRIVER_FEATURE, 4, 1],
  [COMMON.DRIVER_FEATURE, 4],
  [COMMON.DRIVER_FEATURE_SELECT, 4, 7],
  [COMMON.DRIVER_FEATURE, 4, 1],
  [COMMON.DRIVER_FEATURE, 4],
  [COMMON.DEVICE_STATUS, 1, 1],
  [COMMON.DEVICE_STATUS, 1, 3],
  [COMMON.DEVICE_STATUS, 1, 11],
  [COMMON.DEVICE_STATUS, 1],
  [COMMON.CONFIG_MSIX_VECTOR, 2, 1],
  [COMMON.CONFIG_MSIX_VECTOR, 2],
  [COMMON.CONFIG_MSIX_VECTOR, 2, 2],
  [COMMON.CONFIG_MSIX_VECTOR, 2],
  [COMMON.QUEUE_SELECT, 2, 5],
  [COMMON.QUEUE_SELECT, 2],
  [COMMON.QUEUE_SIZE, 2],
  [COMMON.QUEUE_MSIX_VECTOR, 2],
  [COMMON.QUEUE_SELECT, 2, 1024],
  [COMMON.QUEUE_SELECT, 2],
  [COMMON.DEVICE_STATUS, 1, 15],
  [COMMON.DEVICE_STATUS, 1],
  [COMMON.DEVICE_STATUS, 1, 0],
  [COMMON.DEVICE_STATUS, 1],
  [COMMON.CONFIG_MSIX_VECTOR, 2],
  [COMMON.QUEUE_SELECT, 2],
];
const LETTER = { 1: 'b', 2: 'w', 4: 'l' } as const;

t.test('the generic part is that of virtio in QEMU 7.2', { skip: refereeMissing() }, async (t) => {
  const qemu = await startReferee(t, [
    ...['-M', 'q35', '-S', '-nodefaults', '-device', 'virtio-rng-pci,disable-legacy=on,addr=5'],
  ]);
  const ours = placed({ memdev0: fakeMemdev(), 'virtio-id': 4, vectors: 2 });
  const { board, read, write } = ours;
  const select = (register: number): Promise<string> =>
    qemu.ask(`outl 0xcf8 ${String(0x8000_0000 + DEVFN * 256 + register)}`);
  const config = async (register: number): Promise<number> => {
    await select(register & 0xfc);
    return Number(await qemu.ask('inl 0xcfc'));
  };
  const setConfig = async (register: number, value: number): Promise<void> => {
    await select(register);
    await qemu.ask(`outl 0xcfc ${String(value)}`);
  };
  await setConfig(0x20, BASE);
  await setConfig(0x04, 7);
  // Shared memory takes BAR 4, so the registers move to BAR 2; the list ends in the regions.
  const moved = (at: number, value: number): number =>
    [0x44, 0x54, 0x64, 0x74].includes(at) && value === 4 ? 2 : value;
  const compared = [0x00, 0x04, 0x08, 0x0c, 0x2c, 0x30, 0x38, 0x3c];
  for (let at = 0x40; at < 0xa4; at += 4) compared.push(at);
  for (const at of compared)
    t.equal(board.config(DEVFN, at), moved(at, await config(at)), `configuration at ${String(at)}`);
  for (const [offset, size, value] of STEPS) {
    const where = `${LETTER[size]} ${String(BASE + offset)}`;
    const name = `${String(size)} bytes at ${String(offset)}`;
    if (value === undefined) {
      t.equal(read(offset, size), BigInt(await qemu.ask(`read${where}`)), name);
      continue;
    }
    write(offset, value, size);
    await qemu.ask(`write${where} ${String(value)}`);
  }
  // The window of configuration cycles, 0x84: which BAR, where, how many bytes, data.
  board.setConfig(DEVFN, 0x88, 2);
  await setConfig(0x88, 4);
  const window = async (offset: number, length: number, value?: number): Promise<void> => {
    for (const [register, word] of [
      [0x8c, offset],
      [0x90, length],
      ...(value === undefined ? [] : [[0x94, value] as const]),
    ] as const) {
      board.setConfig(DEVFN, register, word);
      await setConfig(register, word);
    }
    t.equal(
      board.config(DEVFN, 0x94),
      await config(0x94),
      `${String(length)} at ${String(offset)}`,
    );
  };
  await window(COMMON.DRIVER_FEATURE_SELECT, 4, 1);
  await window(COMMON.DRIVER_FEATURE, 4, 1);
  await window(COMMON.DEVICE_STATUS, 1, 3);
  await window(COMMON.CONFIG_MSIX_VECTOR, 2);
  await window(COMMON.DEVICE_STATUS, 1);
  await window(COMMON.DEVICE_STATUS, 3);
  t.equal(read(COMMON.DEVICE_STATUS, 1), 3n);
});
