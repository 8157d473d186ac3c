import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import t from 'tap';
import { NativeEventNotifiers } from '../../../server/os/event-notifiers.js';
import { eventually } from '../../support/daemon.js';
import { isRaised, raise } from '../../support/ivshmem.js';
import { native } from '../../support/passing.js';

const needsNative = native === undefined ? { skip: 'koffi is not installed' } : {};
const service = new NativeEventNotifiers(() => native);
const counter = (): number => native?.eventfd() ?? -1;

t.test('signals arrive, several as one', needsNative, async (t) => {
  const fd = counter();
  const notifier = service.adopt(fd);
  let fired = 0;
  notifier.watch(() => void fired++);
  notifier.signal();
  notifier.signal();
  raise(fd);
  await eventually('it fires', () => fired > 0);
  t.strictSame([fired, isRaised(fd)], [1, false]);
  notifier.signal();
  await eventually('it fires again', () => fired === 2);
  t.throws(() => notifier.watch(() => undefined), { message: /is watched/ });
  notifier.signal();
  notifier.close();
  notifier.close();
  notifier.signal();
  t.equal(fired, 2, 'nothing comes after close');
  t.throws(() => closeSync(fd), { code: 'EBADF' });
});

t.test('a full counter holds nobody up', needsNative, async () => {
  const fd = counter();
  const full = Buffer.alloc(8);
  full.writeBigUInt64LE(2n ** 64n - 2n);
  writeSync(fd, full);
  const notifier = service.adopt(fd);
  notifier.signal();
  notifier.close();
});

t.test('what is no event counter is closed', needsNative, async (t) => {
  const fd = openSync('/dev/null', 'r+');
  t.throws(() => service.adopt(fd), { code: 'EINVAL', message: /no event counter/ });
  t.throws(() => readFileSync(fd), { code: 'EBADF' });
  const discarded = counter();
  service.discard(discarded);
  t.throws(() => closeSync(discarded), { code: 'EBADF' });
});

t.test('without the native layer there are none', async (t) => {
  const none = new NativeEventNotifiers(() => undefined);
  t.throws(() => none.check(), { code: 'ENOTSUP', message: /koffi/ });
  const fd = openSync('/dev/null', 'r');
  t.throws(() => none.adopt(fd), { code: 'ENOTSUP' });
  t.throws(() => closeSync(fd), { code: 'EBADF' });
});
