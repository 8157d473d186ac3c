import t from 'tap';
import { asCxlMemoryDevice } from '../../../devices/cxl/type3.js';
import { cxlSwitchMailboxCci } from '../../../devices/cxl-switch-mailbox-cci/index.js';
import { cxlType3 } from '../../../devices/cxl-type3/index.js';
import { busOf, CxlBoard, runMailbox } from '../../support/cxl.js';
import { dynamicOnly, MiB } from '../../support/type3.js';

// The fabric manager's side of reference/cxl.md §5.8; vector V12.

/** A switch with ports 3 (config A behind it), 4 (empty) and 5 (a device that is no memory). */
const fabric = () => {
  const board = new CxlBoard([]);
  const port = board.rootPort(board.hostBridge('cx0', 52), 'rp0');
  const upstream = board.upstream(port, 'us0', { port: 1, sn: 0x1122334455667788n });
  const [third, , fifth] = [3, 4, 5].map((n) => board.downstream(upstream, `ds${String(n)}`, n));
  if (third === undefined || fifth === undefined) throw new Error('no ports');
  const device = board.create(cxlType3, 'd0', dynamicOnly(512n * MiB, 2));
  board.plug(device, { bus: busOf(third) });
  board.upstream(fifth, 'other');
  const cci = board.create(cxlSwitchMailboxCci, 'cci0', { target: upstream });
  board.plug(cci, { bus: busOf(port), addr: 1 });
  board.start();
  const run = (opcode: number, input = '') => runMailbox(cci, 0, opcode, input);
  const tunnel = (opcode: number, input = '', id = 3, type = 0) => {
    const payload = Buffer.from(input.replaceAll(' ', ''), 'hex');
    const message = Buffer.alloc(16 + payload.length);
    message.writeUInt8(id, 0);
    message.writeUInt8(type, 1);
    message.writeUInt16LE(12 + payload.length, 2);
    message.writeUInt8(0x5a, 5);
    message.writeUInt16LE(opcode, 7);
    message.writeUInt16LE(payload.length, 9);
    payload.copy(message, 16);
    const { code, output } = run(0x5300, message.toString('hex'));
    if (code !== 0) return { outer: code, code: -1, text: '' };
    return { outer: 0, code: output.readUInt16LE(12), text: output.toString('hex', 16), output };
  };
  const state = asCxlMemoryDevice(device)?.state;
  if (state?.manager === undefined) throw new Error('no dynamic capacity');
  return { board, cci, run, tunnel, state, manager: state.manager, device };
};

const le64 = (value: bigint): string => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.toString('hex');
};
const TAG = Buffer.from('TAGTAGTAGTAGTAG1', 'latin1').toString('hex');
/** Header of 5604h and 5605h, then one extent. @param flags policy and flags in their byte */
const initiate = (flags: string, [offset, len]: readonly [number, number]): string =>
  `0000 ${flags} 00 ${le64(0n)} ${'00'.repeat(16)} 01000000` +
  `${le64(BigInt(offset) * MiB)} ${le64(BigInt(len) * MiB)} ${TAG} 0700 ${'00'.repeat(6)}`;

t.test('configuration space of the mailbox function (§1.4, §2.2)', async (t) => {
  const { cci } = fabric();
  const { config } = cci.pci;
  t.equal(config.get(0, 4), 0xa123_19e5);
  t.equal(config.get(8, 4), 0x0c0b_0000);
  t.equal(config.get(0x34, 1), 0x80);
  t.equal(config.get(0x100, 4), 0x0001_0023);
  t.equal(config.get(0x10c, 4), 0x300, 'device registers in BAR 0');
  t.equal(cci.pci.bars[0]?.size, 0x1000n);
});

t.test('identity, effects log, ports of the switch', async (t) => {
  const { run } = fabric();
  const identity = `e51928a1 00000000 ${le64(0x1122334455667788n)} 0b00`.replaceAll(' ', '');
  t.equal(run(0x0001).output.toString('hex'), identity);
  const { output: log } = run(0x0401, `0da9c0b5bf414b788f7996b1623b3f17 00000000 28000000`);
  const entries = Array.from({ length: 10 }, (_, i) => log.readUInt16LE(4 * i).toString(16));
  const expected = ['1', '2', '5', '300', '301', '400', '401', '5100', '5101', '5300'];
  t.strictSame(entries, expected);
  const { output } = run(0x5100);
  const ports = `${'3a'.padEnd(64, '0')}${'01'.padEnd(64, '0')}`;
  t.equal(output.toString('hex'), `01000401${ports}0400040004`);
});

t.test('states of ports', async (t) => {
  const { run } = fabric();
  const { output } = run(0x5101, '04 01 03 04 05');
  t.equal(output.length, 4 + 4 * 16);
  const rows = [0, 1, 2, 3].map((i) => [0, 1, 4, 15].map((at) => output[4 + 16 * i + at]));
  t.strictSame(rows, [
    [1, 4, 0, 0],
    [3, 3, 5, 3],
    [4, 3, 0, 3],
    [5, 3, 1, 3],
  ]);
  const trained = '030302000502' + '1010' + '3f0605' + '0700' + '000003';
  t.equal(output.toString('hex', 20, 36), trained, '16 lanes at 32 of 64 GT/s');
  t.equal(run(0x5101, '01 09').code, 2, 'no such port');
  t.equal(run(0x5101, '02 03').code, 0x16);
  t.equal(run(0x5101).code, 0x16);
  const most = (2048 - 4) >> 4;
  t.equal(run(0x5101, Buffer.from([most, ...Array<number>(most).fill(3)]).toString('hex')).code, 0);
  const more = Buffer.from([most + 1, ...Array<number>(most + 1).fill(3)]).toString('hex');
  t.equal(run(0x5101, more).code, 2, 'one more than the payload holds');
});

t.test('a stopped device is busy for the fabric manager', async (t) => {
  const { tunnel, device } = fabric();
  const before = device.save();
  const go = device.pci.activity.hold();
  t.equal(tunnel(0x5604, initiate('00', [0, 2])).code, 6);
  t.equal(tunnel(0x1).code, 6);
  t.strictSame(device.save(), before);
  go();
  t.equal(tunnel(0x1).code, 0);
});

t.test('V12: dynamic capacity by tunnel', async (t) => {
  const { tunnel, manager, device } = fabric();
  const info = tunnel(0x5600);
  const units = `${'0200000000000000'}${le64(0x200000n).repeat(2)}${'00'.repeat(48)}`;
  t.equal(info.code, 0);
  const policies = { add: info.text.slice(8, 12), removal: info.text.slice(16, 20) };
  t.equal(info.text.slice(0, 8), '01020000');
  t.match(policies, { add: /^[0-9a-f]{4}$/, removal: /^[0-9a-f]{4}$/ });
  t.equal(info.text.slice(24), units);
  t.equal(tunnel(0x5601, '0000 08 00').text.length, 200);
  t.equal(tunnel(0x5601, '0000 08 02').code, 2);
  const list = (host: number, start: number) =>
    tunnel(0x5603, `0${String(host)}000000 0a000000 0${String(start)}000000`);
  t.equal(list(0, 0).text, '00'.repeat(24));
  t.equal(list(1, 0).code, 2);
  t.equal(list(0, 1).code, 2);

  t.equal(tunnel(0x5604, initiate('02', [0, 4])).code, 0);
  t.equal(tunnel(0x5604, initiate('02', [0, 4])).code, 0x1e, 'again');
  t.equal(manager.capacity.pending.length, 1);
  t.equal(tunnel(0x5605, initiate('01', [0, 4])).code, 0xf, 'still pending');
  const answer = `01000000 00000000 ${le64(0n)} ${le64(4n * MiB)} ${'00'.repeat(8)}`;
  t.equal(runMailbox(device, 2, 0x4802, answer).code, 0);
  const { output } = runMailbox(device, 2, 0x4801, '0a000000 00000000');
  t.equal(output.toString('hex', 32, 50), `${TAG}0700`, 'tag and sequence are kept');
  t.equal(list(0, 0).output?.readUInt32LE(16 + 8), 1);

  const configure = (region: string, size: bigint, sanitize: string) =>
    tunnel(0x5602, `${region} 000000 ${le64(size)} ${sanitize} 000000`).code;
  t.equal(configure('01', 2n * MiB, '00'), 0);
  t.equal(configure('01', 4n * MiB, '00'), 2);
  t.equal(configure('01', 3n * MiB, '00'), 2);
  t.equal(configure('01', 2n * MiB, '01'), 3);
  t.equal(configure('00', 2n * MiB, '00'), 3, 'region 0 has accepted extents');
});

t.test('tunnels that lead nowhere', async (t) => {
  const { tunnel, run } = fabric();
  t.equal(tunnel(0x0001, '', 9).outer, 2, 'no such port');
  t.equal(tunnel(0x0001, '', 4).outer, 2, 'nothing behind the port');
  t.equal(tunnel(0x0001, '', 5).outer, 2, 'no memory device behind the port');
  t.equal(tunnel(0x0001, '', 3, 1).outer, 2, 'no other target type');
  t.equal(run(0x5300, '0300').code, 0x16);
  t.equal(tunnel(0x0001).code, 0);
  t.equal(tunnel(0x4000).code, 3, 'the inner command set is its own');
});

t.test('the CCI is saved and loaded; a reset forgets the operation, not the time', async (t) => {
  const one = fabric();
  one.run(0x0301, le64(1000n));
  const saved = one.cci.save();
  const other = fabric();
  other.cci.load(saved);
  t.equal(other.run(0x0300).output.readBigUInt64LE(0), 1000n);
  t.throws(() => other.cci.load({}), { message: 'saved cxl-switch-mailbox-cci.pci must be a map' });
});
