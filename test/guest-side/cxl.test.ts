import t from 'tap';
import type { Cleanup } from '../support/daemon.js';
import { WINDOW, program } from '../support/cxl.js';
import { needsNative } from '../support/mdevice.js';
import { startGuest, type Guest } from '../support/qtest.js';

// A CXL memory device by registers alone: what a driver in a guest does, over the qtest socket.
// Vector V9 of reference/cxl.md §11.

const MiB = 1n << 20n;
const [HOST_BUS, DEVICE_BUS] = [52, 53];
const BAR = { component: 0xe000_0000, device: 0xe010_0000, msix: 0xe020_0000 } as const;
const MESSAGE_AT = 0x1_0000;
const MAILBOX = BAR.device + 0x88;

const OPTIONS = [
  ...['-M', 'q35,cxl=on,cxl-fmw.0.targets.0=cx0,cxl-fmw.0.size=4G', '-m', '128M', '-nodefaults'],
  ...['-object', 'memory-backend-ram,id=dcm,size=512M'],
  ...['-device', `pxb-cxl,id=cx0,bus=pcie.0,bus_nr=${String(HOST_BUS)}`],
  ...['-device', 'cxl-rp,id=rp0,bus=cx0,chassis=0,slot=0'],
  ...['-device', 'cxl-type3,id=d0,bus=rp0,num-dc-regions=2,volatile-dc-memdev=dcm'],
];

/** A driver of the device behind the root port. */
class Driver {
  readonly guest: Guest;
  constructor(guest: Guest) {
    this.guest = guest;
  }

  async read(size: 'b' | 'w' | 'l' | 'q', address: bigint | number): Promise<bigint> {
    return this.guest.qtest.value(`read${size} ${String(address)}`);
  }
  async write(size: 'w' | 'l' | 'q', address: bigint | number, value: bigint): Promise<void> {
    const reply = await this.guest.qtest.ask(`write${size} ${String(address)} ${String(value)}`);
    if (reply !== 'OK') throw new Error(reply);
  }

  /** Bus numbers, windows, BARs, as firmware gives them; then messages for dynamic capacity. */
  async enumerate(): Promise<void> {
    const port = this.guest.config(0, { bus: HOST_BUS });
    await port.write(0x18, HOST_BUS + DEVICE_BUS * 0x100 + DEVICE_BUS * 0x1_0000);
    await port.write(0x20, 0xe0f0_e000);
    await port.write(0x04, 6, 2);
    const device = this.guest.config(0, { bus: DEVICE_BUS });
    if ((await device.read(0)) !== 0x0d93_8086) throw new Error('no memory device');
    await device.write(0x10, BAR.component);
    await device.write(0x18, BAR.device);
    await device.write(0x20, BAR.msix);
    await device.write(0x04, 6, 2);
    for (let vector = 0; vector < 8; vector++) {
      await this.write('q', BAR.msix + 16 * vector, BigInt(MESSAGE_AT + 4 * vector));
      await this.write('l', BAR.msix + 16 * vector + 8, 0x4d53n);
      await this.write('l', BAR.msix + 16 * vector + 12, 0n);
    }
    await device.write(0x42, 0x8000, 2);
  }

  /** Runs a command by the doorbell. @returns return code and output */
  async run(opcode: number, input = ''): Promise<{ code: number; output: Buffer }> {
    const { qtest } = this.guest;
    const bytes = input.replaceAll(' ', '');
    const length = bytes.length / 2;
    if (length > 0) await qtest.ask(`write ${String(MAILBOX + 0x20)} ${String(length)} 0x${bytes}`);
    await this.write('q', MAILBOX + 8, BigInt(opcode + length * 0x1_0000));
    await this.write('l', MAILBOX + 4, 1n);
    const status = await this.read('q', MAILBOX + 0x10);
    const size = Number((await this.read('q', MAILBOX + 8)) >> 16n);
    const reply =
      size === 0 ? '' : await qtest.ask(`read ${String(MAILBOX + 0x20)} ${String(size)}`);
    const output = Buffer.from(reply.replace('OK 0x', ''), 'hex');
    return { code: Number((status >> 32n) & 0xffffn), output };
  }
  /** Answers an offer, or gives back, with one range. */
  async give(opcode: 0x4802 | 0x4803, base: bigint, len: bigint): Promise<number> {
    const input = Buffer.alloc(32);
    input.writeUInt32LE(1, 0);
    input.writeBigUInt64LE(base, 8);
    input.writeBigUInt64LE(len, 16);
    return (await this.run(opcode, input.toString('hex'))).code;
  }
  async programDecoder(): Promise<void> {
    const writes: (() => Promise<void>)[] = [];
    program(
      (offset, value) => writes.push(() => this.write('l', BAR.component + offset, value)),
      0,
      { base: WINDOW, size: 512n * MiB },
    );
    for (const write of writes) await write();
  }
}

const add = (guest: Guest, offset: bigint, len: bigint): Promise<unknown> =>
  guest.qmp.execute('cxl-add-dynamic-capacity', {
    ...{ path: 'd0', 'host-id': 0n, 'selection-policy': 'prescriptive', region: 0n },
    extents: [{ offset, len }],
  });

const started = async (t: Cleanup): Promise<Driver> => {
  const driver = new Driver(await startGuest(t, OPTIONS));
  await driver.enumerate();
  return driver;
};

t.test('from the offer to bytes in the window, by registers alone', needsNative, async (t) => {
  const driver = await started(t);
  t.equal((await driver.run(0x0103, '01 01 01 01 01')).code, 0, 'messages for every log');
  await add(driver.guest, 0n, 4n * MiB);
  t.equal(await driver.read('l', MESSAGE_AT + 8), 0x4d53n, 'the message of vector 2 arrived');
  t.equal(await driver.read('q', BAR.device + 0x80), 0x10n, 'event status');
  const { code, output } = await driver.run(0x0100, '04');
  t.equal(code, 0);
  t.equal(output.readUInt16LE(20), 1, 'one record');
  t.equal(output.readBigUInt64LE(32 + 64), 4n * MiB, 'of 4 MiB');
  t.equal((await driver.run(0x0101, `04 00 01 000000 ${output.toString('hex', 52, 54)}`)).code, 0);
  t.equal(await driver.read('q', BAR.device + 0x80), 0n);

  await driver.programDecoder();
  t.equal(await driver.read('l', BAR.component + 0x1148), 0x600n, 'committed');
  await driver.write('q', WINDOW, 0x55n);
  t.equal(await driver.read('q', WINDOW), 0n, 'nothing there before the answer');
  t.equal(await driver.give(0x4802, 0n, 2n * MiB), 0);
  await driver.write('q', WINDOW, 0x1122334455667788n);
  t.equal(await driver.read('q', WINDOW), 0x1122334455667788n);
  await driver.write('q', WINDOW + 2n * MiB, 0x99n);
  t.equal(await driver.read('q', WINDOW + 2n * MiB), 0n, 'not accepted');
  await driver.write('q', WINDOW + 2n * MiB - 8n, 0x11n);
  t.equal(await driver.read('q', WINDOW + 2n * MiB - 4n), 0n, 'half of it is not accepted');
  await driver.write('q', WINDOW + 2n * MiB - 4n, 0xffn);
  t.equal(await driver.read('q', WINDOW + 2n * MiB - 8n), 0x11n, 'and fails as a whole');

  t.equal(await driver.give(0x4803, 0n, 2n * MiB), 0);
  t.equal(await driver.read('q', WINDOW), 0n, 'given back');
  await add(driver.guest, 0n, 2n * MiB);
  t.equal(await driver.give(0x4802, 0n, 2n * MiB), 0);
  t.equal(await driver.read('q', WINDOW), 0x1122334455667788n, 'not sanitized, so still there');
});

t.test('bulk access of the window over many blocks', needsNative, async (t) => {
  const driver = await started(t);
  const { qtest } = driver.guest;
  await add(driver.guest, 0n, 8n * MiB);
  t.equal(await driver.give(0x4802, 2n * MiB, 4n * MiB), 0);
  await driver.programDecoder();
  const edge = WINDOW + 6n * MiB;
  const bytes = Buffer.alloc(16_384, 0xa5);
  await qtest.ask(`write ${String(edge - 8192n)} 16384 0x${bytes.toString('hex')}`);
  const read = await qtest.ask(`read ${String(edge - 8192n)} 16384`);
  t.equal(read, `OK 0x${'a5'.repeat(8192)}${'00'.repeat(8192)}`);
});

t.test('poisoned memory is not read', needsNative, async (t) => {
  const driver = await started(t);
  const { qtest, qmp } = driver.guest;
  await add(driver.guest, 0n, 2n * MiB);
  t.equal(await driver.give(0x4802, 0n, 2n * MiB), 0);
  await driver.programDecoder();
  await qtest.ask(`write ${String(WINDOW)} 256 0x${'77'.repeat(256)}`);
  await qmp.execute('cxl-inject-poison', { path: 'd0', start: 64n, length: 64n });
  t.equal(await driver.read('q', WINDOW + 64n), 0n);
  t.equal(await driver.read('q', WINDOW + 56n), 0x7777777777777777n);
  const line = { good: '77'.repeat(64), bad: '00'.repeat(64) };
  t.equal(
    await qtest.ask(`read ${String(WINDOW)} 256`),
    `OK 0x${line.good}${line.bad}${line.good}${line.good}`,
    'one line is lost, not the page',
  );
});
