import t from 'tap';
import { reportError } from '../../../devices/pci/error-message.js';
import { CxlBoard, UNIT } from '../../support/cxl.js';

const FATAL_BIT = 22;
const ROOT_AER = 0x100;
const [ROOT_STATUS, SOURCE] = [ROOT_AER + 0x30, ROOT_AER + 0x34];
const DEVICE_AER = 0x200;
const MESSAGE_AT = 0x8000;

/** A memory device behind a root port; software has enabled everything unless it says otherwise. */
const started = () => {
  const board = new CxlBoard([]);
  const port = board.rootPort(board.hostBridge('cx0', 52), 'rp0');
  const { device } = board.memory(port, 'd0', UNIT);
  board.start();
  const [root, fn] = [port.pci, device.pci];
  root.writeConfig(0x18, 4, 0x353534);
  root.writeConfig(0x3e, 2, 2);
  root.writeConfig(4, 2, 6);
  root.writeConfig(0x74 + 8, 2, 7);
  root.writeConfig(ROOT_AER + 0x2c, 4, 7);
  root.writeConfig(0x60 + 4, 4, MESSAGE_AT);
  root.writeConfig(0x60 + 8, 2, 0x40);
  root.writeConfig(0x60 + 2, 2, 0x11);
  fn.writeConfig(0x80 + 8, 2, 7);
  fn.writeConfig(DEVICE_AER + 8, 4, 0);
  fn.writeConfig(DEVICE_AER + 0x14, 4, 0);
  const message = (): number => {
    const found = board.readl(MESSAGE_AT);
    board.platform.memory.write(BigInt(MESSAGE_AT), 4, 0n);
    return found;
  };
  return { board, root, fn, message };
};

t.test('a fatal error is recorded on both sides and interrupts', async (t) => {
  const { root, fn, message } = started();
  reportError(fn, { kind: 'uncorrectable', bit: FATAL_BIT });
  t.equal(fn.readConfig(DEVICE_AER + 4, 4), 1 << FATAL_BIT);
  t.equal(fn.readConfig(DEVICE_AER + 0x18, 4) & 0x1f, FATAL_BIT, 'first error');
  t.equal(fn.readConfig(0x80 + 0xa, 2) & 0xf, 4, 'device status');
  t.equal(root.readConfig(ROOT_STATUS, 4), 0x54, 'uncorrectable, first fatal, fatal');
  t.equal(root.readConfig(SOURCE, 4), 0x3500_0000, 'bus 53');
  t.equal(root.readConfig(0x1e, 2) & 0x4000, 0x4000, 'received a system error');
  t.equal(message(), 0x41, 'vector 1 of two');
  reportError(fn, { kind: 'uncorrectable', bit: FATAL_BIT });
  t.equal(root.readConfig(ROOT_STATUS, 4), 0x5c, 'several');
  t.equal(message(), 0, 'software has not looked at the first one yet');
  root.writeConfig(ROOT_STATUS, 4, 0x7f);
  reportError(fn, { kind: 'uncorrectable', bit: 13 });
  t.equal(message(), 0x41);
});

t.test('at a port that is stopped a message waits', async (t) => {
  const { root, fn, message } = started();
  const before = root.save();
  const go = root.activity.hold();
  reportError(fn, { kind: 'uncorrectable', bit: FATAL_BIT });
  t.strictSame(root.save(), before);
  t.equal(message(), 0);
  go();
  t.equal(root.readConfig(ROOT_STATUS, 4), 0x54);
  t.equal(message(), 0x41);
});

t.test('severity decides between fatal and not', async (t) => {
  const { root, fn } = started();
  reportError(fn, { kind: 'uncorrectable', bit: 14 });
  t.equal(root.readConfig(ROOT_STATUS, 4), 0x24);
  t.equal(fn.readConfig(0x80 + 0xa, 2) & 0xf, 2);
});

t.test('correctable errors', async (t) => {
  const { root, fn, message } = started();
  reportError(fn, { kind: 'correctable', bit: 14 });
  t.equal(fn.readConfig(DEVICE_AER + 0x10, 4), 1 << 14);
  t.equal(root.readConfig(ROOT_STATUS, 4), 0x1);
  t.equal(root.readConfig(SOURCE, 4), 0x3500);
  t.equal(message(), 0x41);
  reportError(fn, { kind: 'correctable', bit: 0 });
  t.equal(root.readConfig(ROOT_STATUS, 4), 0x3);
});

t.test('a message gets no further than it is let', async (t) => {
  const blocks: readonly (readonly [
    name: string,
    at: 'root' | 'fn',
    offset: number,
    value: number,
  ])[] = [
    ['masked', 'fn', DEVICE_AER + 8, 0xffff_ffff],
    ['not enabled at the device', 'fn', 0x80 + 8, 0],
    ['not forwarded by the port', 'root', 0x3e, 0],
    ['not enabled at the port', 'root', 0x74 + 8, 0],
  ];
  for (const [name, at, offset, value] of blocks) {
    const parts = started();
    parts[at].writeConfig(offset, 4, value);
    reportError(parts.fn, { kind: 'uncorrectable', bit: FATAL_BIT });
    t.equal(parts.fn.readConfig(DEVICE_AER + 4, 4), 1 << FATAL_BIT, `${name}: recorded`);
    t.equal(parts.root.readConfig(ROOT_STATUS, 4), 0, name);
    t.equal(parts.message(), 0, name);
  }
  const quiet = started();
  quiet.root.writeConfig(ROOT_AER + 0x2c, 4, 0);
  reportError(quiet.fn, { kind: 'uncorrectable', bit: FATAL_BIT });
  t.equal(quiet.root.readConfig(ROOT_STATUS, 4), 0x54, 'recorded without an interrupt');
  t.equal(quiet.message(), 0);
});
