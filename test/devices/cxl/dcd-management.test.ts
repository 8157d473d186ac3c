import t from 'tap';
import { viewOf } from '../../../devices/cxl/bytes.js';
import type { Cci } from '../../../devices/cxl/cci.js';
import { tunnelCommand } from '../../../devices/cxl/commands/tunnel.js';
import { packExtent, type Extent } from '../../../devices/cxl/extents.js';
import { MiB, Type3Bench, hex } from '../../support/type3.js';

const TAG = Buffer.from('TAGTAGTAGTAGTAG1').toString('hex');

/** The output as hexadecimal digits; `code CODE` when it is no success. */
const run = (cci: Cci, opcode: number, input: Uint8Array | string = ''): string => {
  const { code, output } = cci.execute(opcode, typeof input === 'string' ? hex(input) : input);
  return code === 0 ? Buffer.from(output).toString('hex') : `code ${code.toString(16)}`;
};
const extent = (offset: number, len: number, more: Partial<Extent> = {}): Extent => ({
  ...{ base: BigInt(offset) * MiB, len: BigInt(len) * MiB, tag: '00'.repeat(16), sequence: 0 },
  ...more,
});
/** Input of 5604h and 5605h. @param policy the byte at offset 2 */
const request = (policy: number, ...extents: readonly Extent[]): Uint8Array => {
  const input = new Uint8Array(32 + 40 * extents.length);
  input[2] = policy;
  viewOf(input).setUint32(28, extents.length, true);
  extents.forEach((one, i) => input.set(packExtent(one), 32 + 40 * i));
  return input;
};
const FORCED = 0x10;

t.test('V12: capabilities, regions and extent lists', async (t) => {
  const b = Type3Bench.configA(t);
  const { fabric } = b.state;
  t.equal(
    run(fabric, 0x5600),
    '01020000040000000200000002000000000000000000200000000000' +
      '0000200000000000' +
      '00'.repeat(48),
  );
  const regions = run(fabric, 0x5601, '0000 08 00');
  t.equal(regions.length, 200);
  t.equal(
    regions.slice(0, 88),
    '00000202' +
      '0000000000000000' +
      '0100000000000000' +
      '0000001000000000' +
      '0000200000000000' +
      '0000000000000000',
  );
  t.equal(run(fabric, 0x5601, '0000 08 02'), 'code 2');
  t.equal(run(fabric, 0x5603, '0000 0000 ff000000 00000000'), '00'.repeat(24));
  t.equal(run(fabric, 0x5603, '0100 0000 ff000000 00000000'), 'code 2');
  t.equal(run(fabric, 0x5603, '0000 0000 ff000000 01000000'), 'code 2');
});

t.test('V12: adds and releases', async (t) => {
  const b = Type3Bench.configA(t);
  const { fabric } = b.state;
  const one = extent(0, 4, { tag: TAG, sequence: 7 });
  t.equal(run(fabric, 0x5604, request(0, one)), 'code 2');
  t.equal(run(fabric, 0x5604, request(2)), 'code 2', 'nothing to add');
  t.equal(run(fabric, 0x5604, request(2, one).subarray(0, 71)), 'code 16');
  t.equal(run(fabric, 0x5604, request(2, one)), '');
  t.match(b.records().list, [{ tag: TAG, available: 511 }]);
  t.equal(viewOf(b.run(0x0100, '04').output).getUint16(32 + 88, true), 7);
  t.equal(run(fabric, 0x5604, request(2, one)), 'code 1e');
  t.equal(
    run(fabric, 0x5604, request(2, extent(8, 4, { tag: TAG }))),
    'code 2',
    'the tag is in use',
  );
  t.equal(run(fabric, 0x5605, request(1, one)), 'code f', 'it is pending');
  t.equal(run(fabric, 0x5605, request(0, one)), 'code 2');
  t.equal(b.respond([0, 4]), 0);
  const { output } = b.run(0x4801, '01000000 00000000');
  t.equal(Buffer.from(output.subarray(32, 50)).toString('hex'), `${TAG}0700`);
  t.equal(run(fabric, 0x5605, request(1, one)), '');
  t.match(b.records().list.at(-1), { type: 1, tag: TAG });
  t.equal(run(fabric, 0x5605, request(1, extent(8, 4))), 'code f');
  t.equal(run(fabric, 0x5605, request(1, extent(0, 1))), 'code 1e');
  t.equal(run(fabric, 0x5605, request(1, extent(510, 4))), 'code f');
});

t.test('V12: forced removal, also of what is pending', async (t) => {
  const b = Type3Bench.configA(t);
  const { fabric } = b.state;
  run(fabric, 0x5604, request(2, extent(0, 4)));
  t.equal(run(fabric, 0x5605, request(1 | FORCED, extent(0, 4))), '');
  t.strictSame(b.capacity.pending, []);
  run(fabric, 0x5604, request(2, extent(0, 4)));
  b.respond([0, 4]);
  t.equal(run(fabric, 0x5605, request(1 | FORCED, extent(0, 2))), '');
  t.strictSame(b.accepted(), [[2, 4]]);
  t.equal(b.records().list.at(-1)?.type, 2);
});

t.test('V12: configuration of regions', async (t) => {
  const b = Type3Bench.configA(t);
  const { fabric } = b.state;
  const set = (region: number, mebibytes: number, sanitize = 0): string => {
    const input = new Uint8Array(16);
    input[0] = region;
    viewOf(input).setBigUint64(4, BigInt(mebibytes) * MiB, true);
    input[12] = sanitize;
    return run(fabric, 0x5602, input);
  };
  b.add([0, 2]);
  t.equal(set(0, 2), 'code 3', 'extents are pending');
  b.respond([0, 2]);
  t.strictSame(
    [set(1, 2), set(1, 4), set(1, 3), set(1, 2, 1), set(0, 2), set(8, 2), set(2, 2)],
    ['', 'code 2', 'code 2', 'code 3', 'code 3', 'code 3', 'code 3'],
  );
  t.equal(b.records().list.length, 1, 'the same block size is no change');
});

t.test('the FM-owned LD and LD 0 behind it', async (t) => {
  const b = Type3Bench.configA(t);
  const { fabric, logicalDevice } = b.state;
  t.equal(run(fabric, 0x0001), `8680930df41a0011${'ff'.repeat(8)}0903`);
  t.equal(run(fabric, 0x0003), '09');
  t.strictSame([run(fabric, 0x0004, '07'), run(fabric, 0x0004, '0b')], ['code 2', 'code 2']);
  t.equal(run(fabric, 0x0004, '0a'), '0a');
  t.equal(run(fabric, 0x0003), '0a');
  const message = '00 05 00 0100 000000 0000 0000';
  const tunnel = (cci: Cci, id: string, type: string, size = '0c00'): string =>
    run(cci, 0x5300, `${id} ${type} ${size} ${message}`);
  const identity = run(logicalDevice, 0x0001);
  t.equal(tunnel(fabric, '00', '00'), `1e0000000105000100120000000000` + '00' + identity);
  t.equal(tunnel(fabric, '01', '00'), 'code 2');
  t.equal(tunnel(fabric, '00', '01'), 'code 2');
  t.equal(tunnel(fabric, '00', '00', '0d00'), 'code 16');
  fabric.add([]);
  const outer = tunnelCommand((id) => (id === 3 ? fabric : undefined));
  const inner = outer.run(hex(`03 00 0c00 00 01 00 9999 000000 0000 0000`));
  t.equal(
    Buffer.from(inner as Uint8Array).toString('hex'),
    '0c0000000101009999' + '000000' + '0300' + '0000',
  );
  t.equal(run(logicalDevice, 0x5300, ''), 'code 3');
});

t.test('5606h to 5608h: a reference keeps capacity that its host gave back', async (t) => {
  const b = Type3Bench.configA(t);
  const { fabric } = b.state;
  const other = 'ff'.repeat(16);
  const list = (start = '00', count = 'ff'): string =>
    run(fabric, 0x5608, `${start}000000 ${count}000000`);
  t.equal(list(), '00'.repeat(12) + '03000000');
  t.equal(run(fabric, 0x5606, TAG), 'code 2', 'nobody has it');
  run(fabric, 0x5604, request(2, extent(0, 4, { tag: TAG })));
  t.equal(run(fabric, 0x5606, '00'.repeat(16)), 'code 2');
  t.equal(run(fabric, 0x5606, TAG), '');
  t.equal(run(fabric, 0x5606, TAG), '', 'twice is once');
  const entry = (flags: string, reference: string, pending: string): string =>
    TAG + flags + '000000' + reference.padEnd(64, '0') + pending.padEnd(64, '0');
  t.equal(
    list(),
    `00000000 01000000 01000000 03000000`.replaceAll(' ', '') + entry('01', '00', '01'),
  );
  t.equal(list('00', '00'), '00000000010000000000000003000000', 'none wanted');
  t.equal(list('02'), 'code 2');
  b.respond([0, 4]);
  t.equal(list().slice(32), entry('01', '01', '00'));
  t.equal(run(fabric, 0x5607, other), 'code 2');
  b.release([0, 4]);
  t.equal(list().slice(32), entry('01', '00', '00'));
  t.throws(() => b.add([2, 2]), { message: 'a reference to its tag keeps the capacity' });
  t.equal(run(fabric, 0x5604, request(2, extent(2, 2, { tag: other }))), 'code 2');
  b.manager.add({ hostId: 0, policy: 'free', region: 0, extents: [{ offset: 0n, len: 2n * MiB }] });
  t.equal(b.capacity.pending[0]?.extents[0]?.base, 4n * MiB, 'free looks elsewhere');
  b.respond();
  t.equal(run(fabric, 0x5604, request(2, extent(0, 2, { tag: TAG }))), '', 'offered again');
  b.respond();
  const loaded = Type3Bench.configA(t);
  loaded.device.load(b.device.save());
  t.strictSame(loaded.device.save(), b.device.save());
  t.equal(run(fabric, 0x5607, TAG), '');
  t.equal(list().length, 32);
  b.add([0, 4]);
});

t.test('references to tags are limited', async (t) => {
  const b = Type3Bench.configA(t);
  const { references } = b.capacity;
  const tag = (i: number): string => i.toString(16).padStart(32, '0');
  for (let i = 1; i < 512; i++) references.add(tag(i));
  run(b.state.fabric, 0x5604, request(2, extent(0, 4, { tag: TAG })));
  run(b.state.fabric, 0x5604, request(2, extent(4, 4, { tag: 'ee'.repeat(16) })));
  t.equal(run(b.state.fabric, 0x5606, TAG), '', 'the last one');
  t.equal(run(b.state.fabric, 0x5606, 'ee'.repeat(16)), 'code 1d');
  t.equal(references.tags.size, 512);
});
