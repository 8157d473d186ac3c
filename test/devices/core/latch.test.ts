import t from 'tap';
import { Activity } from '../../../devices/core/activity.js';
import { Latch } from '../../../devices/core/latch.js';

t.test('what is latched is done in order, once', (t) => {
  const latch = new Latch();
  const done: number[] = [];
  for (const i of [1, 2, 3]) latch.add(() => done.push(i));
  t.equal(latch.latched, 3);
  latch.replay(() => false);
  latch.replay(() => false);
  t.strictSame([done, latch.latched], [[1, 2, 3], 0]);
  t.end();
});

t.test('at the limit everything waits, one past it is lost and counted', (t) => {
  const latch = new Latch(2);
  const done: number[] = [];
  latch.begin();
  latch.add(() => done.push(1));
  latch.add(() => done.push(2));
  t.strictSame([latch.latched, latch.dropped], [2, 0]);
  latch.add(() => done.push(3));
  t.strictSame([latch.latched, latch.dropped], [2, 1]);
  latch.replay(() => false);
  t.strictSame(done, [1, 2]);
  t.equal(latch.dropped, 1, 'the number stays');
  latch.begin();
  t.equal(latch.dropped, 0, 'until the device is stopped again');
  t.end();
});

t.test('a device that is stopped by what was latched keeps the rest', (t) => {
  const activity = new Activity({ latched: 8 });
  const done: string[] = [];
  let again: () => void = () => undefined;
  const go = activity.hold();
  activity.latch.add(() => {
    done.push('first');
    again = activity.hold();
  });
  activity.latch.add(() => done.push('second'));
  go();
  t.strictSame(done, ['first']);
  again();
  t.strictSame(done, ['first', 'second']);
  t.end();
});

t.test('a reset forgets what was latched and ends state STOP', (t) => {
  const activity = new Activity();
  const done: string[] = [];
  const go = activity.hold();
  const forget = activity.onReset(() => {
    done.push('reset');
    go();
  });
  activity.latch.add(() => done.push('latched'));
  activity.reset();
  t.strictSame([done, activity.stopped], [['reset'], false]);
  forget();
  activity.reset();
  t.strictSame(done, ['reset']);
  t.end();
});

t.test('what waits for a device runs once, as soon as it may act', (t) => {
  const activity = new Activity();
  const done: string[] = [];
  activity.whenActive(() => done.push('now'));
  const go = activity.hold();
  activity.whenActive(() => done.push('later'));
  t.strictSame(done, ['now']);
  go();
  activity.hold()();
  t.strictSame(done, ['now', 'later']);
  t.end();
});
