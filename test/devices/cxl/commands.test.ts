import t from 'tap';
import { viewOf } from '../../../devices/cxl/bytes.js';
import { SparseBackend } from '../../support/sparse-memory.js';
import { MiB, Type3Bench, hex } from '../../support/type3.js';

const SECOND = 1_000_000_000n;
const seconds = (b: Type3Bench, count: number): void => {
  for (let i = 0; i < count; i++) b.clock.step(SECOND);
};
const u64 = (value: bigint): string => {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, value, true);
  return Buffer.from(bytes).toString('hex');
};
const backend = (id: string, mebibytes: number): SparseBackend =>
  new SparseBackend(id, BigInt(mebibytes) * MiB);
/** 512 MiB volatile, 256 MiB persistent, labels of 4 KiB. */
const staticDevice = (t: Parameters<typeof Type3Bench.configA>[0]): Type3Bench =>
  Type3Bench.started(t, {
    'volatile-memdev': backend('v', 512),
    'persistent-memdev': backend('p', 256),
    lsa: new SparseBackend('lsa', 4096n),
  });

t.test('logs: the command effects log lists every opcode with its effects', async (t) => {
  const b = Type3Bench.configA(t);
  const uuid = '0da9c0b5bf414b788f7996b1623b3f17';
  t.equal(b.text(0x0400), `0100000000000000${uuid}88000000`);
  const log = b.run(0x0401, hex(`${uuid}00000000 88000000`)).output;
  const entries = Array.from({ length: 34 }, (_, i) =>
    [0, 2]
      .map((at) =>
        viewOf(log)
          .getUint16(4 * i + at, true)
          .toString(16),
      )
      .join(':'),
  );
  // reference/cxl.md §5.2
  t.equal(
    entries.join(' '),
    '5:0 100:0 101:10 102:0 103:2 200:0 201:c0 202:c0 300:0 301:8 400:0 401:0 500:0 501:0 502:3e ' +
      '4000:0 4100:0 4102:0 4103:6 4201:0 4202:8 4300:0 4301:0 4302:0 4303:0 4304:c0 4305:0 ' +
      '4400:e4 4402:44 4500:0 4800:0 4801:0 4802:4 4803:4',
  );
  t.equal(
    b.text(0x0401, `${uuid}04000000 04000000`),
    Buffer.from(log.subarray(4, 8)).toString('hex'),
  );
  t.equal(b.text(0x0401, `${uuid}00000000 89000000`), 'code 2');
  t.equal(b.text(0x0401, `${uuid}88000000 01000000`), 'code 2');
  t.equal(b.text(0x0401, `${uuid}00000000 01080000`), 'code 2');
  t.equal(b.text(0x0401, `${'00'.repeat(16)}00000000 04000000`), 'code 17');
  t.equal(staticDevice(t).run(0x0400).output[24], 30 * 4, 'without dynamic capacity');
});

t.test('time: 0 until it is set, then it runs; reset keeps it', async (t) => {
  const b = Type3Bench.configA(t);
  b.clock.step(SECOND);
  t.equal(b.text(0x0300), u64(0n));
  b.run(0x0301, hex(u64((1n << 63n) + 5n)));
  b.clock.step(7n);
  t.equal(b.text(0x0300), u64((1n << 63n) + 12n));
});

t.test('identity and partitions in units of 256 MiB', async (t) => {
  const b = staticDevice(t);
  const bytes = b.run(0x4000).output;
  const view = viewOf(bytes);
  t.equal(bytes.length, 69);
  t.equal(Buffer.from(bytes.subarray(0, 16)).toString('latin1'), 'BWFW VERSION 00\0');
  t.strictSame(
    [16, 24, 32, 40].map((at) => view.getBigUint64(at, true)),
    [3n, 2n, 1n, 0n],
  );
  t.strictSame([view.getUint32(56, true), view.getUint16(60, true)], [4096, 256]);
  t.strictSame([view.getUint8(62), view.getUint16(63, true), view.getUint16(67, true)], [0, 0, 8]);
  t.equal(b.text(0x4100), u64(2n) + u64(1n) + u64(0n) + u64(0n));
  t.equal(Type3Bench.configA(t).text(0x4100), u64(0n).repeat(4), 'dynamic capacity does not count');
  const odd = Type3Bench.started(t, { 'volatile-memdev': backend('odd', 300) });
  t.strictSame([odd.text(0x4000), odd.text(0x4100)], ['code 4', 'code 4']);
});

t.test('labels', async (t) => {
  const b = staticDevice(t);
  t.equal(b.text(0x4103, 'fc0f0000 00000000 01020304'), '');
  t.equal(b.text(0x4102, 'fb0f0000 05000000'), '0001020304');
  t.equal(b.text(0x4102, 'fc0f0000 05000000'), 'code 2');
  t.equal(b.text(0x4102, '00000000 00080000').length, 2 * 2048);
  t.equal(b.text(0x4102, '00000000 01080000'), 'code 2', 'longer than the payload');
  t.equal(b.text(0x4102, 'ffffffff ffffffff'), 'code 2');
  t.equal(b.text(0x4103, 'fd0f0000 00000000 01020304'), 'code 2');
  t.equal(b.text(0x4103, '00000000 000000'), 'code 16');
  const none = Type3Bench.configA(t);
  t.strictSame(
    [none.text(0x4102, '00000000 00000000'), none.text(0x4102, '00000000 01000000')],
    ['', 'code 2'],
  );
});

t.test('alerts: all thresholds of a request or none', async (t) => {
  const b = Type3Bench.configA(t);
  t.equal(b.text(0x4201), '00004b2823000a001900140000000000');
  t.equal(b.text(0x4202, '03 00 0a 00 2300 0000 0000 0000'), 'code 2', 'over-temperature too high');
  t.equal(b.text(0x4201), '00004b2823000a001900140000000000');
  t.equal(b.text(0x4202, '01 00 4b 00 0000 0000 0000 0000'), 'code 2');
  t.equal(b.text(0x4202, '04 00 00 00 0000 0a00 0000 0000'), 'code 2');
  t.equal(b.text(0x4202, '1f ff 4a 00 2200 0b00 0100 0200'), '');
  t.equal(b.text(0x4201), '001f4b4a23000a0022000b0001000200');
});

t.test('firmware: slots, transfer and activation', async (t) => {
  const b = Type3Bench.configA(t);
  const part = (action: number, slot: number, offset = 0, length = 128): string => {
    const input = new Uint8Array(128 + length);
    input.set([action, slot]);
    viewOf(input).setUint32(4, offset, true);
    return b.text(0x0201, input);
  };
  const info = b.run(0x0200).output;
  t.strictSame([...info.subarray(0, 3)], [2, 1, 1]);
  t.equal(Buffer.from(info.subarray(16, 32)).toString('latin1'), 'BWFW VERSION 0\0\0');
  t.equal(info[32], 0);
  t.equal(b.text(0x0201, new Uint8Array(127)), 'code 16');
  t.equal(b.text(0x0202, '00 02'), 'code b', 'the slot is empty');
  t.strictSame([part(0, 1), part(0, 0), part(0, 3)], ['code b', 'code b', 'code b']);
  t.equal(part(2, 2), 'code 2', 'continued without a start');
  t.equal(part(1, 2, 1), 'code 2', 'a start with an offset');
  t.equal(part(0, 2, (32 * 2 ** 20) / 128), 'code 2');
  t.equal(part(5, 2), 'code 2');
  t.equal(part(1, 2), 'code 1');
  t.equal(part(2, 2, 1), 'code 6', 'one at a time');
  seconds(b, 2);
  t.equal(part(1, 2), 'code 8');
  t.equal(part(2, 2), 'code 1', 'an exact repeat');
  seconds(b, 2);
  t.equal(part(2, 2, 0, 64), 'code 9', 'an overlap');
  t.equal(part(2, 2, 1), 'code 1');
  seconds(b, 2);
  t.equal(part(3, 2, 2), 'code 1');
  t.equal(b.run(0x0200).output[32], 0, 'not before the transfer is done');
  seconds(b, 2);
  t.equal(
    Buffer.from(b.run(0x0200).output.subarray(32, 48)).toString('latin1'),
    'BWFW VERSION 1\0\0',
  );
  t.equal(b.text(0x0202, '02 02'), 'code 2');
  t.equal(b.text(0x0202, '01 02'), '');
  t.equal(b.run(0x0200).output[1], 1 | (2 << 3), 'staged');
  t.equal(b.text(0x0202, '00 02'), '');
  t.equal((b.run(0x0200).output[1] ?? 0) & 7, 2);
  t.equal(part(1, 1), 'code 1');
  seconds(b, 33);
  t.equal(part(2, 1, 1), 'code 2', 'more than 30 s after the last part');
  t.equal(part(4, 1), '');
});

const SCRUB = '96dad7d6fde8482ba73375774e06db8a';
const ECS = 'e5b13f2223284a14b8bab9691e893386';

t.test('features: list, get and set', async (t) => {
  const b = Type3Bench.configA(t);
  const list = b.run(0x0500, 'ffff0000 0000 0000').output;
  t.strictSame([list.length, ...list.subarray(0, 4)], [8 + 96, 2, 0, 2, 0]);
  t.equal(
    Buffer.from(list.subarray(8, 56)).toString('hex'),
    `${SCRUB}0000 0400 0200 01000000 01 01 0202`.replaceAll(' ', '').padEnd(96, '0'),
  );
  t.equal(b.run(0x0500, '38000000 0100 0000').output.length, 56);
  t.equal(b.text(0x0500, '08000000 0000 0000'), '0000020000000000');
  t.equal(b.text(0x0500, '07000000 0000 0000'), 'code 2');
  t.equal(b.text(0x0500, 'ff000000 0200 0000'), 'code 2');
  const get = (uuid: string, offset = '0000', count = 'ff00', selection = '00'): string =>
    b.text(0x0501, `${uuid}${offset}${count}${selection}`);
  t.equal(get(SCRUB), '030c0100');
  t.equal(get(ECS), `01${'01030000'.repeat(3)}`);
  t.equal(get(SCRUB, '0100', '0200'), '0c01');
  t.equal(get(SCRUB, '0000', 'ff00', '01'), 'code 3');
  t.equal(get(SCRUB, '0400'), 'code 2');
  t.equal(get(SCRUB, '0000', '0108'), 'code 2');
  t.equal(get('00'.repeat(16)), 'code 3');
});

t.test('features: transfers', async (t) => {
  const b = Type3Bench.configA(t);
  const get = (uuid: string): string => b.text(0x0501, `${uuid}0000ff0000`);
  const set = (
    uuid: string,
    action: number,
    offset: number,
    data: string,
    version = '01',
  ): string =>
    b.text(
      0x0502,
      `${uuid}0${String(action)}000000 0${String(offset)}00 ${version} ${'00'.repeat(9)}${data}`,
    );
  t.equal(set(SCRUB, 0, 0, '0501'), '');
  t.equal(get(SCRUB), '03050101');
  t.equal(set(SCRUB, 0, 0, ''), 'code 16');
  t.equal(set(SCRUB, 0, 1, '0501'), 'code 16');
  t.equal(set(SCRUB, 0, 0, '0501', '02'), 'code 3');
  t.equal(set(ECS, 1, 0, '02ff'), '');
  t.equal(get(ECS), 'code 1b');
  t.equal(get(SCRUB), '03050101');
  t.equal(set(SCRUB, 0, 0, '0600'), 'code 1b', 'another transfer is open');
  t.equal(set(ECS, 2, 2, 'ff1f'), '');
  t.equal(set(ECS, 3, 4, '00ff00'), '');
  t.equal(get(ECS), '02011f0000011f0000011f0000');
  set(SCRUB, 1, 0, '0b');
  t.equal(set(SCRUB, 4, 0, '00'), '');
  t.equal(get(SCRUB), '03050101', 'what was aborted is forgotten');
});

t.test('V13: poison', async (t) => {
  const b = Type3Bench.configA(t);
  const { poison, time } = b.state;
  const list = (from: bigint, lines: bigint): string[] => {
    const { output } = b.run(0x4300, hex(u64(from) + u64(lines)));
    const view = viewOf(output);
    return Array.from({ length: view.getUint16(10, true) }, (_, i) => {
      const [address, length] = [
        view.getBigUint64(32 + 16 * i, true),
        view.getUint32(40 + 16 * i, true),
      ];
      return `${(address & ~63n).toString(16)}+${String(64 * length)}:${String(address & 7n)}`;
    });
  };
  poison.add({ base: 0n, len: 64n, source: 2 }, time.now());
  poison.add({ base: 0x100n, len: 128n, source: 2 }, time.now());
  t.equal(b.text(0x4301, u64(0x1000n)), '');
  t.equal(b.text(0x4302, u64(0x100n) + 'ab'.repeat(64)), '');
  t.strictSame(list(0n, 1000n), ['1000+64:3', '140+64:2', '0+64:2'], 'newest first');
  t.strictSame(list(0x100n, 2n), ['140+64:2'], 'clipped');
  t.equal(b.text(0x4302, u64(512n * MiB) + '00'.repeat(64)), 'code f');
  t.equal(b.text(0x4300, u64(1n) + u64(1n)), 'code 2');
  t.equal(b.text(0x4303, u64(0n) + u64(1n)), 'code f');
  t.equal(b.text(0x4301, u64(1n)), 'code 2');
  t.equal(b.text(0x4301, u64(512n * MiB)), 'code f');
  t.equal(b.text(0x4301, u64(0x1000n)), '', 'poisoned already');
});

t.test('poison: the list and one past it, what waits behind it, the media scan', async (t) => {
  const b = staticDevice(t);
  const { poison, time } = b.state;
  b.run(0x0301, hex(u64(77n)));
  for (let i = 0; i < 256; i++) t.equal(b.run(0x4301, hex(u64(128n * BigInt(i)))).code, 0);
  t.equal(b.text(0x4301, u64(0x100000n)), 'code 10');
  const header = (): DataView => viewOf(b.run(0x4300, hex(u64(0n) + u64(1n << 20n))).output);
  t.strictSame([header().getUint8(0), header().getUint16(10, true)], [1, 126], 'more remain');
  t.equal(b.text(0x4305), 'code 3');
  poison.add({ base: 0x100000n, len: 64n, source: 2 }, time.now());
  t.equal(header().getUint8(0), 3);
  t.equal(header().getBigUint64(2, true), 77n);
  b.run(0x4302, hex(u64(0n) + '00'.repeat(64)));
  t.equal(b.text(0x4303, u64(0n) + u64(0x40000n)), '83000000');
  t.equal(b.text(0x4304, u64(0n) + u64(0x40000n) + '00'), 'code 1');
  t.equal(header().getUint8(0) & 4, 4, 'scan in progress');
  t.equal(b.text(0x4301, u64(0x200000n)), '', 'no change while the media is scanned');
  t.equal(b.text(0x4304, u64(0n) + u64(1n) + '00'), 'code 6');
  seconds(b, 1);
  const results = viewOf(b.run(0x4305).output);
  t.strictSame([results.getUint16(18, true), results.getBigUint64(32, true)], [1, 0x100002n]);
  t.equal(viewOf(b.run(0x4305).output).getUint16(18, true), 0, 'consumed');
  t.equal(header().getUint8(0), 1, 'nothing waits any more');
  t.equal(b.text(0x4303, u64(1n) + u64(1n)), 'code 2');
  t.equal(b.text(0x4304, u64(768n * MiB) + u64(1n) + '00'), 'code f');
});

t.test('what waits behind the poison list is limited', async (t) => {
  const b = staticDevice(t);
  const { poison } = b.state;
  const add = (i: number): boolean =>
    poison.add({ base: 128n * BigInt(i), len: 64n, source: 2 }, 0n);
  for (let i = 0; i < 256 + 4096; i++) if (!add(i)) t.fail(`refused too early: ${String(i)}`);
  const before = poison.save();
  t.equal(add(256 + 4096), false);
  t.strictSame(poison.save(), before);
});

t.test('media operations', async (t) => {
  const b = staticDevice(t);
  const run = (head: string, ...ranges: readonly (readonly [bigint, bigint])[]): string =>
    b.text(0x4402, `${head}${ranges.map(([base, len]) => u64(base) + u64(len)).join('')}`);
  t.equal(run('00 00 0000 00000000 0000 0300'), `${u64(64n)}03000300000001000101`);
  t.equal(run('00 00 0000 00000000 0200 0200'), 'code 2');
  t.equal(run('00 00 0000 01000000 0000 0300'), 'code 2');
  t.equal(run('01 02 0000 00000000'), 'code 3');
  t.equal(run('02 00 0000 00000000'), 'code 3');
  t.equal(run('01 00 0000 00000000'), '');
  t.equal(run('01 00 0000 02000000', [0n, 64n]), 'code 16');
  for (const wrong of [
    [1n, 64n],
    [0n, 65n],
    [0n, 0n],
    [768n * MiB, 64n],
  ] as const)
    t.equal(run('01 00 0000 01000000', wrong), 'code 2');
  const at = (address: bigint): number => {
    const byte = new Uint8Array(1);
    b.device.readDpa(address as never, byte);
    return byte[0] ?? 0;
  };
  t.equal(run('01 00 0000 01000000', [0n, 128n]), 'code 1');
  t.equal(at(64n), 0);
  seconds(b, 4);
  t.strictSame([at(0n), at(127n), at(128n)], [15, 15, 0]);
  t.equal(run('01 01 0000 01000000', [64n, 64n]), 'code 1');
  seconds(b, 4);
  t.strictSame([at(0n), at(64n)], [15, 0]);
  t.equal(
    Type3Bench.configA(t).text(0x4402, `01 00 0000 01000000 ${u64(0n)}${u64(64n)}`),
    'code 2',
  );
});

t.test('security: nothing to lock', async (t) => {
  t.equal(Type3Bench.configA(t).text(0x4500), '00000000');
});

t.test('random input at every opcode never ends the process', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([0, 64]);
  const opcodes = [...b.state.host.commands, ...b.state.fabric.commands].map(
    ({ opcode }) => opcode,
  );
  let seed = 12345;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return seed % below;
  };
  for (let i = 0; i < 3000; i++) {
    const opcode = opcodes[random(opcodes.length)] ?? 0;
    const input = Uint8Array.from({ length: random(3) === 0 ? random(300) : random(40) }, () =>
      random(4) === 0 ? random(256) : random(3),
    );
    for (const cci of [b.state.host, b.state.fabric]) {
      const { code, output } = cci.execute(opcode, input);
      t.ok(code <= 0x20 && output.length <= cci.payloadSize);
    }
    if (random(20) === 0) b.clock.step(SECOND);
  }
});
