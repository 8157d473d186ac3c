import t from 'tap';
import { Activity, DeviceClock } from '../../../devices/core/activity.js';
import { OwnMemories } from '../../../devices/core/own-memory.js';
import { VirtualClock } from '../../../server/machine/virtual-clock.js';
import { SparseMemory } from '../../support/sparse-memory.js';

t.test('a device is stopped while somebody holds it', (t) => {
  const activity = new Activity();
  const seen: boolean[] = [];
  const forget = activity.onChange((stopped) => seen.push(stopped));
  const first = activity.hold();
  const second = activity.hold();
  first();
  first();
  t.equal(activity.stopped, true);
  second();
  t.strictSame(seen, [true, false]);
  forget();
  activity.hold();
  t.strictSame(seen, [true, false]);
  t.end();
});

t.test('the clock of a stopped device stands still, its timers wait', (t) => {
  const clock = new VirtualClock({ driver: 'client' });
  clock.start();
  const activity = new Activity();
  const own = new DeviceClock(clock, activity);
  const fired: string[] = [];
  own.at(100n, () => fired.push('a'));
  const cancel = own.at(120n, () => fired.push('never'));
  clock.advance(40n);
  const go = activity.hold();
  own.at(150n, () => fired.push('b'));
  clock.advance(1000n);
  t.strictSame([own.now(), fired], [40n, []]);
  cancel();
  go();
  t.equal(own.now(), 40n);
  clock.advance(1059n);
  t.strictSame(fired, []);
  clock.advance(1060n);
  t.strictSame(fired, ['a']);
  clock.advance(1110n);
  t.strictSame(fired, ['a', 'b']);
  t.end();
});

t.test('own memory does not change while its device is stopped', (t) => {
  const activity = new Activity();
  const memories = new OwnMemories(activity);
  const memory = new SparseMemory(8192n);
  const view = memories.add('m', memory);
  t.throws(() => memories.add('m', memory), RangeError);
  view.writeInt(0n, 4, 0x1234n);
  const go = activity.hold();
  view.writeInt(0n, 4, 0x5678n);
  view.write(4n, Uint8Array.of(1));
  t.equal(view.readInt(0n, 8), 0x1234n);
  memory.writeInt(8n, 1, 7n);
  t.equal(view.readInt(8n, 1), 7n);
  go();
  view.writeInt(0n, 4, 0x5678n);
  t.equal(memory.readInt(0n, 4), 0x5678n);
  t.strictSame([memories.size, memories.list.map(({ name }) => name)], [8192n, ['m']]);
  memories.remove('m');
  t.equal(memories.size, 0n);
  t.end();
});
