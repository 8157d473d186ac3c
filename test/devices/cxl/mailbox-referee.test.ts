import t from 'tap';
import { viewOf } from '../../../devices/cxl/bytes.js';
import { refereeMissing, startReferee, type Qtest } from '../../support/referee.js';
import { SparseBackend } from '../../support/sparse-memory.js';
import { MiB, Type3Bench, hex } from '../../support/type3.js';

/**
 * Device registers and mailbox commands next to those of real QEMU 7.2, which has a memory device
 * without dynamic capacity. What differs is listed here with its reason, and nothing else may.
 */

const ECAM = 0xb000_0000;
const ROOT_PORT = ECAM + 52 * 0x10_0000;
const DEVICE = ECAM + 53 * 0x10_0000;
const BAR_2 = 0xe000_0000;
const PAYLOAD = 0xa8;

const OPTIONS = [
  ...['-M', 'q35,cxl=on', '-m', '128M', '-nodefaults', '-S'],
  ...['-object', 'memory-backend-ram,id=m0,size=512M'],
  ...['-object', 'memory-backend-ram,id=l0,size=256K'],
  ...['-device', 'pxb-cxl,id=cx0,bus=pcie.0,bus_nr=52'],
  ...['-device', 'cxl-rp,id=rp0,bus=cx0,slot=0'],
  ...['-device', 'cxl-type3,id=t0,bus=rp0,memdev=m0,lsa=l0'],
];

/** Maps BAR 2 behind the root port. */
const map = async (qemu: Qtest): Promise<void> => {
  const writes: readonly (readonly [string, number, number])[] = [
    ['outl', 0xcf8, 0x8000_0060],
    ['outl', 0xcfc, ECAM + 1],
    ['writel', ROOT_PORT + 0x18, 52 + 53 * 0x100 + 53 * 0x1_0000],
    ['writel', ROOT_PORT + 0x20, 0xe0f0_e000],
    ['writew', ROOT_PORT + 4, 6],
    ['writel', DEVICE + 0x18, BAR_2],
    ['writel', DEVICE + 0x1c, 0],
    ['writew', DEVICE + 4, 6],
  ];
  for (const [command, at, value] of writes)
    await qemu.ask(`${command} ${String(at)} ${String(value)}`);
};

/** The return code and output of one command, as hexadecimal digits. */
const runQemu = async (qemu: Qtest, opcode: number, input: string): Promise<string> => {
  const bytes = hex(input);
  for (let at = 0; at < bytes.length; at += 4) {
    const word = new Uint8Array(4);
    word.set(bytes.subarray(at, at + 4));
    const value = viewOf(word).getUint32(0, true);
    await qemu.ask(`writel ${String(BAR_2 + PAYLOAD + at)} ${String(value)}`);
  }
  const command = BigInt(opcode) | (BigInt(bytes.length) << 16n);
  await qemu.ask(`writeq ${String(BAR_2 + 0x90)} ${String(command)}`);
  await qemu.ask(`writel ${String(BAR_2 + 0x8c)} 1`);
  const status = BigInt(await qemu.ask(`readq ${String(BAR_2 + 0x98)}`));
  const length = Number(
    (BigInt(await qemu.ask(`readq ${String(BAR_2 + 0x90)}`)) >> 16n) & 0xfffffn,
  );
  const output =
    length === 0 ? '' : Buffer.from(await qemu.memory(BAR_2 + PAYLOAD, length)).toString('hex');
  return `${String((status >> 32n) & 0xffffn)}:${output}`;
};

const ours = (t: Parameters<typeof Type3Bench.configA>[0]): Type3Bench =>
  Type3Bench.started(t, {
    memdev: new SparseBackend('m0', 512n * MiB),
    lsa: new SparseBackend('l0', 0x40000n),
  });

const skip = refereeMissing();

t.test('capability array and registers', { skip }, async (t) => {
  const qemu = await startReferee(t, OPTIONS);
  await map(qemu);
  const b = ours(t);
  const found: string[] = [];
  for (let at = 0; at < 0xa8; at += 4) {
    const theirs = BigInt(await qemu.ask(`readl ${String(BAR_2 + at)}`));
    const mine = b.read(at, 4);
    if (mine !== theirs)
      found.push(`${at.toString(16)}: ${mine.toString(16)}, QEMU ${theirs.toString(16)}`);
  }
  t.strictSame(found, [
    // Versions of the status and of the capability; the background interrupt, vector 7.
    '10: 20001, QEMU 10001',
    '88: 3cb, QEMU b',
  ]);
  t.equal(b.read(0x8a8, 8), BigInt(await qemu.ask(`readq ${String(BAR_2 + 0x8a8)}`)));
});

/** Opcode and input. */
const COMMANDS: readonly (readonly [opcode: number, input: string])[] = [
  [0x0300, ''],
  [0x0301, '0102'],
  [0x0400, ''],
  [0x0401, '00'.repeat(24)],
  [0x0401, `0da9c0b5bf414b788f7996b1623b3f17${'00'.repeat(4)}01080000`],
  [0x4000, ''],
  [0x4000, '00'],
  [0x4100, ''],
  [0x4102, '00000000 10000000'],
  [0x4103, 'f8ff0300 00000000 0102030405060708'],
  [0x4102, 'f8ff0300 08000000'],
  [0x4102, 'f9ff0300 08000000'],
  [0x4103, 'f9ff0300 00000000 0102030405060708'],
  [0x1234, ''],
];

t.test('commands that both have answer the same but for what is listed', { skip }, async (t) => {
  const qemu = await startReferee(t, OPTIONS);
  await map(qemu);
  const b = ours(t);
  const found: string[] = [];
  for (const [opcode, input] of COMMANDS) {
    // 7.2 leaves the input in the payload when it refuses.
    const theirs = (await runQemu(qemu, opcode, input)).replace(/^([^0].*):.*$/, '$1:');
    const { code, output } = b.run(opcode, input);
    const mine = `${String(code)}:${Buffer.from(output).toString('hex')}`;
    if (mine === theirs) continue;
    const same = mine.split(':')[0] === theirs.split(':')[0];
    found.push(`${opcode.toString(16)}: ${same ? 'output' : `${mine}, QEMU ${theirs}`}`);
  }
  t.strictSame(found, [
    // More commands; unknown logs have a code of their own; newer firmware, poison, records.
    '400: output',
    '401: 23:, QEMU 3:',
    '4000: output',
  ]);
});

t.test('identity: the same but for the firmware and the limits of poison', { skip }, async (t) => {
  const qemu = await startReferee(t, OPTIONS);
  await map(qemu);
  const theirs = hex((await runQemu(qemu, 0x4000, '')).split(':')[1] ?? '');
  const mine = ours(t).run(0x4000).output;
  t.equal(
    Buffer.from(mine.subarray(16, 60)).toString('hex'),
    Buffer.from(theirs.subarray(16, 60)).toString('hex'),
  );
});
