import t from 'tap';
import { VirtualClock } from '../../../server/machine/virtual-clock.js';
import { startGuest } from '../../support/qtest.js';

t.test('a clock that a client moves fires each timer at its moment', async (t) => {
  const clock = new VirtualClock({ driver: 'client' });
  const fired: string[] = [];
  const at = (time: bigint, name: string): (() => void) =>
    clock.at(time, () => fired.push(`${name} at ${String(clock.now())}`));
  clock.start();
  at(30n, 'late');
  at(10n, 'first');
  at(10n, 'second');
  const cancel = at(20n, 'cancelled');
  clock.at(15n, () => void at(18n, 'from a timer'));
  t.equal(clock.deadline, 10n);
  cancel();
  clock.advance(25n);
  t.strictSame(fired, ['first at 10', 'second at 10', 'from a timer at 18']);
  t.equal(clock.now(), 25n);
  clock.advance(24n);
  t.equal(clock.now(), 25n, 'never back');
  clock.stop();
  clock.advance(40n);
  t.equal(clock.now(), 40n);
  t.equal(clock.deadline, undefined);
  t.equal(fired.length, 3, 'timers of a stopped machine wait');
  clock.start();
  clock.advance(41n);
  t.strictSame(fired.slice(3), ['late at 40']);
  t.equal(clock.deadline, undefined);
  clock.close();
});

t.test('time stands still between the steps', async (t) => {
  const hostNow = (): bigint => {
    t.fail('host time was asked for');
    return 0n;
  };
  const clock = new VirtualClock({ driver: 'client', hostNow });
  clock.start();
  const cancel = clock.at(1n, () => t.fail('fired without a step'));
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  t.equal(clock.now(), 0n);
  cancel();
});

t.test('clock_step, clock_set (reference §10.2)', async (t) => {
  const { qtest, qmp } = await startGuest(t, ['-M', 'q35', '-nodefaults', '-accel', 'qtest']);
  for (const [request, reply] of [
    [
      'clock_step',
      'FAIL cannot advance clock to the next deadline because there is no pending deadline',
    ],
    ['clock_step 100', 'OK 100'],
    ['clock_step 0', 'FAIL could not advance time'],
    ['clock_step -1', 'FAIL could not advance time'],
    ['clock_step x', "FAIL clock_step: nanoseconds 'x' is not a number"],
    ['clock_set', 'FAIL clock_set: time is missing'],
    ['clock_set 1000', 'OK 1000'],
    ['clock_set 1000', 'OK 1000'],
    ['clock_set 999', 'FAIL 1000'],
    [
      'clock_set 9223372036854775808',
      "FAIL clock_set: time '9223372036854775808' is not a signed number of 64 bits",
    ],
    ['clock_set 9223372036854775807', 'OK 9223372036854775807'],
    ['clock_step 1', 'FAIL could not advance time'],
  ] as const)
    t.equal(await qtest.ask(request), reply, request);
  t.match(await qmp.execute('query-accelerators'), { enabled: 'qtest' });
});
