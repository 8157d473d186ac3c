import t from 'tap';
import type { Json } from '../../side-by-side/client.js';
import { Qtest, startGuest } from '../../support/qtest.js';

const Q35 = ['-M', 'q35', '-nodefaults'];
const raise = 'set_irq_in ioapic unnamed-gpio-in 5 1';
const lower = 'set_irq_in ioapic unnamed-gpio-in 5 0';

t.test('the inputs of the interrupt controller', async (t) => {
  const { qtest } = await startGuest(t, Q35);
  for (const [request, reply, ...interrupts] of [
    [raise, 'OK'],
    [lower, 'OK'],
    ['irq_intercept_in nope', 'FAIL Unknown device'],
    ['irq_intercept_in /machine', 'FAIL Unknown device'],
    ['irq_intercept_in ioapic name', 'FAIL Interception of named in-GPIOs not yet supported'],
    ['irq_intercept_out ioapic', 'FAIL No intercepts installed'],
    ['irq_intercept_in ioapic', 'OK'],
    ['irq_intercept_in ioapic', 'OK'],
    ['irq_intercept_in /machine/q35/ioapic', 'OK'],
    ['irq_intercept_out ioapic', 'OK'],
    ['irq_intercept_in /machine/q35', 'FAIL IRQ intercept already enabled'],
    [raise, 'OK', 'IRQ raise 5'],
    [raise, 'OK'],
    [lower, 'OK', 'IRQ lower 5'],
    ['set_irq_in ioapic unnamed-gpio-in 23 -7', 'OK', 'IRQ raise 23'],
    ['set_irq_in nope unnamed-gpio-in 1 1', 'FAIL Unknown device'],
    [
      'set_irq_in ioapic unnamed-gpio-in 24 1',
      "FAIL set_irq_in: /machine/q35/ioapic has no input 'unnamed-gpio-in' 24",
    ],
    ['set_irq_in ioapic named 1 1', "FAIL set_irq_in: /machine/q35/ioapic has no input 'named' 1"],
    ['set_irq_in ioapic unnamed-gpio-in 1', 'FAIL set_irq_in: level is missing'],
  ] as const) {
    t.equal(await qtest.ask(request), reply, request);
    t.strictSame(qtest.takeInterrupts(), interrupts, `${request}: interrupts`);
  }
});

t.test('a line that is up already is told when it goes up again', async (t) => {
  const { qtest } = await startGuest(t, Q35);
  await qtest.ask(raise);
  await qtest.ask('irq_intercept_in ioapic');
  await qtest.ask(lower);
  t.strictSame(qtest.takeInterrupts(), []);
  await qtest.ask(raise);
  t.strictSame(qtest.takeInterrupts(), ['IRQ raise 5']);
});

t.test('the outputs of the bridge of q35', async (t) => {
  const { qtest, qmp } = await startGuest(t, Q35);
  const list = (await qmp.execute('qom-list', { path: '/machine/unattached' })) as {
    name: string;
    type: Json;
  }[];
  const name = list.find(({ type }) => type === 'child<ICH9-LPC>')?.name ?? '';
  const path = `/machine/unattached/${name}`;
  t.equal(await qtest.ask(`irq_intercept_out ${path}`), 'FAIL No intercepts installed');
  t.equal(await qtest.ask(`irq_intercept_out ${path} gsi`), 'OK');
  await qtest.ask(raise);
  t.strictSame(qtest.takeInterrupts(), ['IRQ raise 5']);
});

t.test('each client watches for itself, and no longer than it is there', async (t) => {
  const { qtest, qtestSocket } = await startGuest(t, Q35);
  const watcher = await Qtest.connect(qtestSocket);
  await watcher.ask('irq_intercept_in ioapic');
  await qtest.ask(raise);
  t.equal(await watcher.ask('endianness'), 'OK little');
  t.strictSame(watcher.takeInterrupts(), ['IRQ raise 5'], 'told while it asked for nothing');
  t.strictSame(qtest.takeInterrupts(), []);
  watcher.close();
  await qtest.ask(lower);
  t.equal(await qtest.ask('endianness'), 'OK little');
});

t.test('a watcher that does not read is disconnected at the limit', async (t) => {
  const { qtest, qtestSocket } = await startGuest(t, [...Q35, '--limit', 'event-bytes=20000']);
  const watcher = await Qtest.connect(qtestSocket);
  await watcher.ask('irq_intercept_in ioapic');
  watcher.pause();
  // What the operating system keeps for it comes on top of the limit.
  const storm = `${raise}\n${lower}\n`.repeat(2000);
  for (let i = 0; i < 40; i++) {
    qtest.send(storm);
    for (let reply = 0; reply < 4000; reply++) await qtest.reply();
  }
  watcher.resume();
  await watcher.closed();
  t.equal(await qtest.ask('endianness'), 'OK little');
});
