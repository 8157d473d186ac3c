import t from 'tap';
import { Msi } from '../../../devices/pci/msi.js';
import type { MsiOptions } from '../../../devices/pci/msi.js';
import { COMMAND, CONFIG } from '../../../devices/pci/registers.js';
import { fakeFunction, fakeRoot } from '../../support/pci.js';

const ADDRESS = 0x1000;

/** A bus master with MSI at 0x40, programmed to ADDRESS and the given data, not enabled. */
const programmed = (options: Partial<MsiOptions> = {}, data = 0x4320) => {
  const fn = fakeFunction();
  const msi = new Msi(fn, { vectors: 1, bits64: true, ...options });
  const root = fakeRoot();
  root.bus.attach(fn, 8);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MASTER);
  fn.writeConfig(0x44, 4, ADDRESS);
  fn.writeConfig(options.bits64 === false ? 0x48 : 0x4c, 2, data);
  const message = (): number => {
    const value = new DataView(root.ram.bytes.buffer).getUint32(ADDRESS, true);
    root.ram.bytes.fill(0);
    return value;
  };
  return { fn, msi, root, message };
};

t.test('the capability has the layout that its options ask for (§1.6)', async (t) => {
  for (const [options, control, size] of [
    [{ vectors: 1, bits64: false }, 0x0000, 0x0a],
    [{ vectors: 1, bits64: true }, 0x0080, 0x0e],
    [{ vectors: 4, bits64: false, mask: true }, 0x0104, 0x14],
    [{ vectors: 32, bits64: true, mask: true }, 0x018a, 0x18],
  ] as const) {
    const fn = fakeFunction();
    const msi = new Msi(fn, options);
    t.equal(fn.config.get(0x40, 1), 0x05);
    t.equal(fn.config.get(0x42, 2), control);
    for (let at = 0; at < size; at += 2) fn.config.write(0x40 + at, 2, 0xffff);
    t.equal(fn.config.get(0x42, 2), control | 0x71);
    t.equal(fn.config.get(0x44, 4), 0xfffffffc);
    msi.reset();
    t.equal(fn.config.get(0x42, 2), control);
    t.equal(fn.config.get(0x44, 4), 0);
  }
  t.throws(() => new Msi(fakeFunction(), { vectors: 3, bits64: true }), RangeError);
});

t.test('a message is a DMA write of 4 bytes, only while enabled and bus master', async (t) => {
  const { fn, msi, message } = programmed();
  msi.notify(0);
  t.equal(message(), 0, 'disabled');
  fn.writeConfig(0x42, 2, 1);
  msi.notify(0);
  t.equal(message(), 0x4320);
  t.strictSame(msi.message, { address: BigInt(ADDRESS), data: 0x4320 });
  fn.writeConfig(CONFIG.COMMAND, 2, 0);
  msi.notify(0);
  t.equal(message(), 0, 'no bus master');
});

t.test('the vector replaces the low bits of the data', async (t) => {
  const { fn, msi, message } = programmed({ vectors: 8, bits64: false }, 0x432f);
  fn.writeConfig(0x42, 2, 0x21);
  const sent = (vector: number): number => {
    msi.notify(vector);
    return message();
  };
  t.strictSame([0, 3, 5].map(sent), [0x432c, 0x432f, 0x432d], 'vectors beyond the enabled share');
});

t.test('more vectors than there are cannot be enabled', async (t) => {
  const { fn } = programmed({ vectors: 4 });
  fn.writeConfig(0x42, 2, 0x51);
  t.equal(fn.readConfig(0x42, 2), 0x00a5, 'clamped to 4');
});

t.test('a masked vector becomes pending and is sent when unmasked', async (t) => {
  const { fn, msi, message } = programmed({ vectors: 2, mask: true });
  fn.writeConfig(0x42, 2, 0x11);
  fn.writeConfig(0x50, 4, 0x2);
  msi.notify(1);
  t.equal(message(), 0);
  t.equal(fn.readConfig(0x54, 4), 0x2);
  fn.writeConfig(0x50, 4, 0);
  t.equal(message(), 0x4321);
  t.equal(fn.readConfig(0x54, 4), 0);
});

t.test('enabling MSI drops an asserted line; reset forgets everything', async (t) => {
  const { fn, msi, root } = programmed({ mask: true });
  fn.setInterrupt(true);
  fn.writeConfig(0x42, 2, 1);
  t.strictSame(root.interrupts, ['1:0:up', '1:0:down']);
  fn.writeConfig(0x50, 4, 1);
  msi.notify(0);
  fn.reset();
  t.equal(msi.enabled, false);
  t.strictSame(
    [0x44, 0x48, 0x4c, 0x50, 0x54].map((at) => fn.readConfig(at, 4)),
    [0, 0, 0, 0, 0],
  );
});

t.test('pending bits and message survive save and load', async (t) => {
  const from = programmed({ mask: true });
  from.fn.writeConfig(0x42, 2, 1);
  from.fn.writeConfig(0x50, 4, 1);
  from.msi.notify(0);
  const to = programmed({ mask: true }, 0);
  to.fn.load(from.fn.save());
  t.equal(to.message(), 0, 'loading sends nothing');
  to.fn.writeConfig(0x50, 4, 0);
  t.equal(to.message(), 0x4320);
});

t.test('closing takes the capability out', async (t) => {
  const { fn } = programmed();
  fn.close();
  t.equal(fn.findCapability(0x05), undefined);
});
