import t from 'tap';
import { giveAll, takeAll, takeBackAll, type Handover } from '../../../devices/core/handover.js';

/** Devices that write down what is asked of them; `fails` names calls that throw. */
const devices = (fails: readonly string[] = [], taken = false) => {
  const calls: string[] = [];
  const call = (name: string): void => {
    calls.push(name);
    if (fails.includes(name)) throw new Error(name);
  };
  const handovers = ['a', 'b', 'c'].map((name): Handover => ({
    offer: () => ({}),
    expect: () => call(`${name} expect`),
    give: () => call(`${name} give`),
    take: () => call(`${name} take`),
    takeBack: () => {
      call(`${name} takeBack`);
      return !taken;
    },
    abandon: () => call(`${name} abandon`),
    letGo: () => call(`${name} letGo`),
  }));
  return { calls, handovers };
};

t.test('what was given comes back when the next one refuses', async (t) => {
  const { calls, handovers } = devices(['b give']);
  t.throws(() => giveAll(handovers), { message: 'b give' });
  t.strictSame(calls, ['a give', 'b give', 'a takeBack', 'b takeBack', 'c takeBack']);
});

t.test('the first one decides whether all are taken', async (t) => {
  const late = devices(['a take']);
  t.throws(() => takeAll(late.handovers), { message: 'a take' });
  t.strictSame(late.calls, ['a take']);
  const { calls, handovers } = devices(['b take']);
  const told: unknown[] = [];
  takeAll(handovers, (error) => told.push(error));
  t.strictSame(calls, ['a take', 'b take', 'c take']);
  t.match(told, [{ message: 'b take' }]);
});

t.test('the first one decides whether all come back', async (t) => {
  const early = devices();
  t.ok(takeBackAll(early.handovers));
  t.strictSame(early.calls, ['a takeBack', 'b takeBack', 'c takeBack']);
  const late = devices([], true);
  t.notOk(takeBackAll(late.handovers));
  t.strictSame(late.calls, ['a takeBack', 'a letGo', 'b letGo', 'c letGo']);
  t.ok(takeBackAll([]));
});
