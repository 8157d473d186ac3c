import t from 'tap';
import type { Test } from 'tap';
import { DynamicMdeviceDriver } from '../../devices/dynamic-mdevice/driver.js';
import type { DriverOptions } from '../../devices/dynamic-mdevice/driver.js';
import { MdeviceBench, backingFile, needsNative } from '../support/mdevice.js';

const PAGE = 0x1000n;

/** A device after reset: command register clear, MSI off. */
const setUp = (t: Test, options: DriverOptions = {}) => {
  const b = new MdeviceBench({
    size: 0x10000n,
    align: 4096,
    'mem-path': backingFile(t, 0x20000),
  });
  b.device.realize();
  t.teardown(() => b.device.unrealize());
  b.device.reset('cold');
  return { b, driver: new DynamicMdeviceDriver(b.access, b.device, options) };
};
const command = (b: MdeviceBench): number => b.device.pci.readConfig(4, 2);
const turns = async (n = 5): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve));
};

t.test('attach and detach go through registers, doorbell and interrupt', needsNative, async (t) => {
  const { b, driver } = setUp(t);
  t.strictSame(await driver.attach({ size: 0x2000n, offset: PAGE }), {
    'bar-offset': 0n,
    size: 0x2000n,
    offset: PAGE,
  });
  t.equal(command(b) & 6, 6, 'MEM and MASTER');
  t.equal(b.device.pci.readConfig(0x42, 2) & 1, 1, 'MSI enabled');
  t.equal(b.memory(0), 2);
  t.equal(b.read('INT_STATUS'), 0n, 'taken');
  const second = await driver.attach({ size: PAGE, offset: 0n });
  t.equal(second['bar-offset'], 0x2000n);
  await driver.detach({ offset: PAGE, size: 0x2000n });
  t.strictSame(driver.attachments(), [{ 'bar-offset': 0x2000n, size: PAGE, offset: 0n }]);
  await driver.detach();
  t.strictSame(driver.attachments(), []);
  t.strictSame(
    b.emitted.map(({ event }) => event),
    ['MEM_ATTACHED', 'MEM_ATTACHED', 'MEM_DETACHED', 'MEM_DETACHED'],
  );
  t.equal(b.timers.pending, 0, 'no timer is left');
});

t.test('detach finds an attachment by its offset alone', needsNative, async (t) => {
  const { driver } = setUp(t);
  await driver.attach({ size: 0x2000n, offset: PAGE });
  await driver.detach({ offset: PAGE });
  t.strictSame(driver.attachments(), []);
});

t.test('refusals name size, offset and rule', needsNative, async (t) => {
  const { b, driver } = setUp(t);
  for (const [name, work, message] of [
    [
      'alignment',
      () => driver.attach({ size: 100n, offset: 0n }),
      /md0.*100 bytes at offset 0.*multiples of 4096/,
    ],
    ['size 0', () => driver.attach({ size: 0n, offset: 0n }), /size must be above 0/],
    [
      'past the end',
      () => driver.attach({ size: PAGE, offset: 0x20000n }),
      /4096 bytes at offset 131072.*outside the host object/,
    ],
    ['no room', () => driver.attach({ size: 0x11000n, offset: 0n }), /no room left in BAR 2/],
    [
      'nothing to detach',
      () => driver.detach({ size: PAGE, offset: 0n }),
      /no attachment of 4096 bytes at offset 0/,
    ],
    ['nothing at the offset', () => driver.detach({ offset: 0n }), /nothing at offset 0/],
    ['size without offset', () => driver.detach({ size: PAGE }), /'size' needs 'offset'/],
    ['size 0 to detach', () => driver.detach({ size: 0n, offset: 0n }), /expects a value above 0/],
  ] as const) {
    await t.rejects(Promise.resolve<unknown>(work()), { name: 'QmpError', message }, name);
    t.strictSame(driver.attachments(), [], name);
  }
  t.strictSame(b.emitted, []);
});

t.test(
  'with MASTER cleared behind its back attach times out and attaches nothing',
  needsNative,
  async (t) => {
    const { b, driver } = setUp(t, { timeoutMs: 100 });
    await driver.attach({ size: PAGE, offset: 0n });
    b.enable(2);
    const attempt = driver.attach({ size: PAGE, offset: PAGE });
    await turns();
    b.timers.step(99);
    await turns();
    t.equal(b.timers.pending, 1, 'still waiting');
    b.timers.step(1);
    await t.rejects(attempt, { name: 'QmpError', message: /md0' timed out/ });
    t.equal(driver.attachments().length, 1, 'taken back');
    b.enable(6);
    await driver.attach({ size: PAGE, offset: PAGE });
    t.equal(driver.attachments().length, 2);
  },
);

t.test('an attempt taken back leaves what others attached meanwhile', needsNative, async (t) => {
  const { b, driver } = setUp(t, { timeoutMs: 100 });
  await driver.attach({ size: PAGE, offset: 0n });
  b.enable(2);
  const attempt = driver.attach({ size: PAGE, offset: PAGE });
  await turns();
  b.write('MEM_SIZE', 0n);
  b.timers.step(100);
  await t.rejects(attempt, { message: /timed out/ });
  t.strictSame(driver.attachments(), [{ 'bar-offset': 0n, size: PAGE, offset: 0n }]);
});

t.test('with MASTER cleared behind its back detach changes nothing', needsNative, async (t) => {
  const { b, driver } = setUp(t);
  await driver.attach({ size: PAGE, offset: 0n });
  b.enable(2);
  for (const request of [undefined, { offset: 0n }])
    await t.rejects(driver.detach(request), { name: 'QmpError', message: /md0' cannot answer/ });
  t.equal(driver.attachments().length, 1);
  b.enable(6);
  await driver.detach();
  t.strictSame(driver.attachments(), []);
});

t.test('with MEM cleared behind its back it times out', needsNative, async (t) => {
  const { b, driver } = setUp(t, { timeoutMs: 100 });
  await driver.attach({ size: PAGE, offset: 0n });
  b.enable(4);
  const attempt = driver.attach({ size: PAGE, offset: PAGE });
  await turns();
  b.timers.step(100);
  await t.rejects(attempt, { message: /timed out/ });
});

for (const [name, disturb, message] of [
  ['removal', (b: MdeviceBench) => b.device.unrealize(), /was removed/],
  ['reset', (b: MdeviceBench) => b.device.reset('warm'), /was reset/],
  ['loss of power', (b: MdeviceBench) => b.device.pci.setPowered(false), /was reset/],
] as const) {
  t.test(`a wait ends by ${name}`, needsNative, async (t) => {
    const { b, driver } = setUp(t);
    await driver.attach({ size: PAGE, offset: 0n });
    b.enable(2);
    const attempt = driver.attach({ size: PAGE, offset: PAGE });
    await turns();
    disturb(b);
    await t.rejects(attempt, { name: 'QmpError', message });
    t.strictSame(driver.attachments(), []);
    t.equal(b.timers.pending, 0);
  });
}

t.test('a wait ends when the client is gone', needsNative, async (t) => {
  const gone = new AbortController();
  const { b, driver } = setUp(t, { signal: gone.signal });
  await driver.attach({ size: PAGE, offset: 0n });
  b.enable(2);
  const attempt = driver.attach({ size: PAGE, offset: PAGE });
  await turns();
  gone.abort();
  await t.rejects(attempt, { message: /client is gone/ });
  t.equal(driver.attachments().length, 1);
});

t.test('after a reset it binds anew', needsNative, async (t) => {
  const { b, driver } = setUp(t);
  await driver.attach({ size: PAGE, offset: 0n });
  b.device.reset('warm');
  t.equal(command(b), 0);
  await driver.attach({ size: PAGE, offset: 0n });
  t.equal(command(b) & 6, 6);
});

t.test('when somebody else owns MSI it polls', needsNative, async (t) => {
  const { b, driver } = setUp(t);
  b.enable(4);
  b.enableMsi();
  await driver.attach({ size: PAGE, offset: 0n });
  t.equal(b.message(), true, 'the owner heard of it');
  t.equal(b.device.pci.readConfig(0x44, 4), 0x8000, 'its address stays');
  await t.rejects(driver.attach({ size: 1n, offset: 0n }), { message: /multiples of 4096/ });
});

t.test('when events are masked it polls', needsNative, async (t) => {
  const { b, driver } = setUp(t);
  b.enable(6);
  b.write('INT_MASK', 0xffffffffn);
  await driver.attach({ size: PAGE, offset: 0n });
  t.equal(b.read('INT_MASK'), 0xffffffffn);
});

t.test('what others attached is listed too', needsNative, async (t) => {
  const { b, driver } = setUp(t);
  b.enable(6);
  b.run(1n, PAGE, 0x3000n);
  t.strictSame(driver.attachments(), [{ 'bar-offset': 0n, size: PAGE, offset: 0x3000n }]);
});

t.test('pieces of work at one time go one after the other', needsNative, async (t) => {
  const { driver } = setUp(t);
  const all = await Promise.all(
    [0n, 1n, 2n, 3n].map((i) => driver.attach({ size: PAGE, offset: i * PAGE })),
  );
  t.strictSame(
    all.map((one) => one['bar-offset']),
    [0n, PAGE, 2n * PAGE, 3n * PAGE],
  );
});

t.test('a device without power does not answer', needsNative, async (t) => {
  const { b, driver } = setUp(t);
  b.device.pci.setPowered(false);
  await t.rejects(driver.attach({ size: PAGE, offset: 0n }), { message: /does not answer/ });
});
