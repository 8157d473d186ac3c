import t from 'tap';
import type { Test } from 'tap';
import type {
  AtomicBytes,
  SharedObject,
  SharedObjects,
} from '../../../devices/core/shared-object.js';
import { LAYOUT } from '../../../devices/cxl-mhsld/layout.js';
import { Pool, type AttachOptions } from '../../../devices/cxl-mhsld/pool.js';
import { NativeLoader } from '../../../server/os/native.js';
import { NativeSharedObjects } from '../../../server/os/shared-objects.js';
import { privateFolder } from '../../support/daemon.js';

const loader = new NativeLoader();
if (loader.load() === undefined) t.bailout('koffi is not installed');

const BLOCKS = 20;
const OWNERS = 24;
const TAG = '00112233445566778899aabbccddeeff';
const SOURCE = 0;
const OTHER = 1;
const BYSTANDER = 2;
/** What the head that migrates has; the bystander shares the second range. */
const OWNED = [
  { first: 0, count: 3 },
  { first: 5, count: 2 },
  { first: 9, count: 9 },
];
const blocksOf = OWNED.flatMap(({ first, count }) =>
  [...Array(count).keys()].map((i) => first + i),
);

class Killed extends Error {}

/** The shared objects as a process sees them that is killed before one of its steps. */
class MortalObjects implements SharedObjects {
  /** Steps to live. */
  left = Infinity;
  readonly #objects: SharedObjects;
  readonly #afterStep: () => void;

  constructor(objects: SharedObjects, afterStep: () => void) {
    this.#objects = objects;
    this.#afterStep = afterStep;
  }

  open(name: string): SharedObject {
    return this.#mortal(this.#objects.open(name));
  }
  create(name: string, content: Uint8Array): SharedObject {
    return this.#mortal(this.#objects.create(name, content));
  }

  #mortal(object: SharedObject): SharedObject {
    const { bytes } = object;
    const step = (run: () => void): void => {
      if (this.left-- <= 0) throw new Killed();
      run();
      this.#afterStep();
    };
    const mortal: Partial<AtomicBytes> = {
      store: (at, value) => step(() => bytes.store(at, value)),
      exchangeBits: (at, length, from, to) => {
        for (let i = at; i < at + length; i++)
          if ((bytes.load(i) & from) !== 0) step(() => bytes.exchangeBits(i, 1, from, to));
      },
    };
    const over = <T extends object>(whole: T, parts: Partial<T>): T =>
      new Proxy(whole, {
        get: (target, name) => {
          const value: unknown = Reflect.get(parts, name) ?? Reflect.get(target, name, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    return over(object, { bytes: over<AtomicBytes>(bytes, mortal) });
  }
}

type Move = ReturnType<typeof startMove>;

/** A head with blocks, where it migrates to, and a head that looks on. */
const startMove = (t: Test, to: number) => {
  const objects = new NativeSharedObjects(loader, privateFolder(t));
  const attach = (
    head: number,
    more: Partial<AttachOptions> = {},
    from: SharedObjects = objects,
  ) => {
    const pool = Pool.attach(from, {
      ...{ name: 'state', head, blocks: BLOCKS, init: head === BYSTANDER, adopt: false },
      ...more,
    });
    t.teardown(() => pool.leave());
    return pool;
  };
  const onlooker = attach(BYSTANDER);
  onlooker.claim([{ first: 3, count: 1 }]);
  const state = objects.open('state');
  t.teardown(() => state.close());
  /** Owners among the two; what the bystander has must be as it was. */
  const owners = (): string =>
    Array.from({ length: BLOCKS }, (_, block) => {
      const mask = state.bytes.load(OWNERS + block);
      const expected = block === 3 || block === 5 || block === 6 ? 1 << BYSTANDER : 0;
      if ((mask & (1 << BYSTANDER)) !== expected) throw new Error('the onlooker lost a block');
      return String(mask & 3);
    }).join('');
  let checking = false;
  let wrong = 0;
  const afterStep = (): void => {
    if (!checking) return;
    const now = owners();
    const mine = blocksOf.every((block) => now[block] === '1' || now[block] === '2');
    const rest = [...now].every((mask, block) => blocksOf.includes(block) || mask === '0');
    if (!mine || !rest) wrong++;
  };
  const lives = {
    source: new MortalObjects(objects, afterStep),
    destination: new MortalObjects(objects, afterStep),
  };
  const source = attach(SOURCE, {}, lives.source);
  source.claim(OWNED);
  source.tag(TAG, [{ first: 5, count: 2 }]);
  onlooker.share(TAG);
  const destination = attach(to, { wait: true }, lives.destination);
  checking = true;
  const expected = (head: number): string =>
    [...Array(BLOCKS).keys()]
      .map((block) => (blocksOf.includes(block) ? String(1 << head) : '0'))
      .join('');
  return {
    ...{ source, destination, onlooker, lives, attach, owners, expected, state },
    wrong: () => wrong,
  };
};

const KINDS = [
  ['to another head', OTHER],
  ['with its number', SOURCE],
] as const;

for (const [kind, to] of KINDS) {
  t.test(`what a head has migrates ${kind}`, async (t) => {
    const { source, destination, onlooker, owners, expected, wrong } = startMove(t, to);
    const phases = (): unknown => onlooker.moves().map(({ phase }) => phase);
    destination.move.expect(SOURCE);
    t.strictSame(onlooker.moves(), [{ from: SOURCE, to, phase: 'waiting' }]);
    t.equal(destination.restore(OWNED), undefined, 'a state is loaded, nothing is claimed');
    t.strictSame(destination.restore([{ first: 2, count: 2 }]), { block: 3, heads: [BYSTANDER] });
    t.equal(owners(), expected(SOURCE));
    t.notOk(destination.owns({ first: 0, count: 1 }));
    source.move.give();
    t.strictSame(phases(), ['given']);
    t.notOk(source.ownsBlock(0));
    destination.move.take();
    t.strictSame(phases(), ['taken']);
    t.ok(OWNED.every((range) => destination.owns(range)));
    source.move.letGo();
    t.strictSame(onlooker.moves(), []);
    source.release(OWNED);
    source.detach();
    t.equal(owners(), expected(to), 'its end changes nothing');
    t.equal(onlooker.heads()[to]?.state, 'attached');
    t.equal(onlooker.logicalDevices()[to], to);
    t.strictSame(onlooker.share(TAG), { block: 5, heads: [to, BYSTANDER] }, 'its tags follow');
    t.equal(wrong(), 0);
    t.equal(destination.claim([{ first: 19, count: 1 }]), undefined);
    destination.detach();
    t.strictSame(
      onlooker.owners().map(({ heads }) => heads),
      [[BYSTANDER], [BYSTANDER]],
    );
  });

  for (const victim of ['source', 'destination'] as const)
    t.test(`a ${victim} killed at any step while a head migrates ${kind}`, async (t) => {
      /** The move until the victim dies, before its step number `steps`. */
      const moveUntil = (steps: number) => {
        const move = startMove(t, to);
        const { source, destination, lives } = move;
        const outcome = { taken: false, done: false };
        lives[victim].left = steps;
        try {
          destination.move.expect(SOURCE);
          source.move.give();
          destination.move.take();
          outcome.taken = true;
          source.move.letGo();
          outcome.done = true;
        } catch (error) {
          if (!(error instanceof Killed)) throw error;
          (victim === 'source' ? source : destination).leave();
        }
        return { ...move, ...outcome };
      };
      /** Nobody is left of the two: the next one finds the whole with one of them, and no trace. */
      const checkDead = ({ attach, owners, expected, state, wrong }: Move, text: string): void => {
        attach(7).detach();
        const now = owners();
        t.ok([expected(SOURCE), expected(to)].includes(now), `${text}: ${now}`);
        const { offset, size } = LAYOUT.MOVES;
        t.strictSame([...state.bytes.copy(offset, size)], [0, 0, 0, 0, 0, 0], text);
        const adopted = attach(now === expected(to) ? to : SOURCE, { adopt: true });
        t.ok(
          OWNED.every((range) => adopted.owns(range)),
          text,
        );
        t.equal(wrong(), 0, 'at every step each block had exactly one of the two');
        adopted.detach();
      };
      for (let steps = 0, done = false; !done; steps++) {
        const text = `after ${String(steps)} steps`;
        const one = moveUntil(steps);
        done = one.done;
        if (done) break;
        const { source, destination, owners, expected } = one;
        if (victim === 'destination') {
          t.ok(source.move.takeBack(), text);
          t.equal(owners(), expected(SOURCE), text);
          t.ok(
            OWNED.every((range) => source.owns(range)),
            text,
          );
          t.equal(source.claim([{ first: 19, count: 1 }]), undefined, 'it goes on');
          source.release([{ first: 19, count: 1 }]);
          source.leave();
        } else {
          if (!one.taken) destination.move.abandon();
          t.equal(owners(), expected(one.taken ? to : SOURCE), text);
          if (one.taken) {
            t.ok(
              OWNED.every((range) => destination.owns(range)),
              text,
            );
            destination.leave();
          } else destination.detach();
          t.equal(owners(), expected(one.taken ? to : SOURCE), 'a dead head keeps what it has');
        }
        checkDead(one, text);
        // The survivor dies too, while it puts things in order.
        const survivor = victim === 'source' ? 'destination' : 'source';
        for (let left = 0, survived = false; !survived; left++) {
          const two = moveUntil(steps);
          two.lives[survivor].left = left;
          try {
            if (survivor === 'source') two.source.move.takeBack();
            else two.destination.move.abandon();
            survived = true;
          } catch (error) {
            if (!(error instanceof Killed)) throw error;
          }
          two[survivor].leave();
          checkDead(two, `${text}, the other one ${String(left)} steps later`);
          two.onlooker.detach();
          two.state.unlink();
        }
        one.onlooker.detach();
        one.state.unlink();
      }
    });

  t.test(`a failure while a head migrates ${kind}, and nobody dies`, async (t) => {
    for (const given of [false, true])
      for (const first of ['source', 'destination'])
        for (const again of [false, true]) {
          const { source, destination, owners, expected, wrong, onlooker } = startMove(t, to);
          destination.move.expect(SOURCE);
          if (given) source.move.give();
          if (first === 'destination') destination.move.abandon();
          t.ok(source.move.takeBack());
          if (first === 'source') {
            t.throws(() => destination.move.take(), { message: /was not given what it waits for/ });
            destination.move.abandon();
          }
          t.equal(owners(), expected(SOURCE));
          t.strictSame(onlooker.moves(), []);
          t.ok(OWNED.every((range) => source.owns(range)));
          if (again) {
            destination.move.expect(SOURCE);
            source.move.give();
            destination.move.take();
            t.equal(source.move.takeBack(), false, 'too late');
            source.move.letGo();
            t.equal(owners(), expected(to));
          } else {
            destination.detach();
            t.equal(owners(), expected(SOURCE), 'a destination leaves without a trace');
          }
          t.equal(wrong(), 0);
          for (const pool of [source, destination, onlooker]) pool.detach();
        }
  });

  t.test(`an end of one of them while a head migrates ${kind}`, async (t) => {
    const one = startMove(t, to);
    one.destination.move.expect(SOURCE);
    one.source.move.give();
    one.destination.detach();
    t.ok(one.source.move.takeBack());
    t.equal(one.owners(), one.expected(SOURCE));
    one.source.detach();
    t.equal(one.owners(), '0'.repeat(BLOCKS));
    t.strictSame(one.onlooker.moves(), []);
    one.onlooker.detach();
    const two = startMove(t, to);
    two.destination.move.expect(SOURCE);
    two.source.move.give();
    two.source.detach();
    t.equal(two.owners(), '0'.repeat(BLOCKS), 'unplugged before it was taken');
    t.throws(() => two.destination.move.take(), { message: /was not given what it waits for/ });
  });
}

t.test('a destination that took and ended gives nothing back', async (t) => {
  for (const [, to] of KINDS) {
    const { source, destination, owners, onlooker } = startMove(t, to);
    destination.move.expect(SOURCE);
    source.move.give();
    destination.move.take();
    destination.detach();
    t.equal(source.move.takeBack(), false);
    source.move.letGo();
    t.equal(owners(), '0'.repeat(BLOCKS));
    for (const pool of [source, onlooker]) pool.detach();
  }
});

t.test('what a destination had beyond what it took is free when it dies', async (t) => {
  const { source, destination, owners, expected } = startMove(t, OTHER);
  destination.move.expect(SOURCE);
  source.move.give();
  destination.move.take();
  destination.claim([{ first: 18, count: 2 }]);
  destination.leave();
  t.ok(source.move.takeBack());
  t.equal(owners(), expected(SOURCE));
});

t.test('a head that waits', async (t) => {
  const { source, destination, attach, onlooker } = startMove(t, SOURCE);
  const inUse = { message: "head 0 of mhsld state 'state' is in use" };
  t.ok(destination.isWaiting);
  t.throws(() => destination.claim([{ first: 19, count: 1 }]), inUse);
  t.throws(() => destination.restore([{ first: 19, count: 1 }]), inUse);
  t.throws(() => attach(SOURCE, { wait: true }), inUse, 'one can wait');
  t.throws(() => attach(SOURCE), inUse);
  t.throws(() => onlooker.freeHead(SOURCE), {
    message: "head 0 of mhsld state 'state' is attached",
  });
  destination.release(OWNED);
  t.ok(OWNED.every((range) => source.owns(range)));
  source.detach();
  t.equal(onlooker.heads()[SOURCE]?.state, 'attached');
  t.equal(destination.restore([{ first: 19, count: 1 }]), undefined, 'a state from a file');
  t.notOk(destination.isWaiting);
  t.ok(destination.owns({ first: 19, count: 1 }));
});

t.test('what cannot migrate is refused and changes nothing', async (t) => {
  const { source, destination, onlooker, attach, owners, expected } = startMove(t, OTHER);
  const refuses = (run: () => unknown, message: string): void => {
    t.throws(run, { message });
    t.strictSame(onlooker.moves(), [], message);
  };
  refuses(() => source.move.give(), "nobody waits for what head 0 of mhsld state 'state' owns");
  refuses(
    () => destination.move.take(),
    "head 1 of mhsld state 'state' was not given what it waits for",
  );
  refuses(() => destination.move.expect(5), "head 5 of mhsld state 'state' is not attached");
  refuses(() => destination.move.expect(OTHER), "head 1 of mhsld state 'state' is not attached");
  destination.claim([{ first: 19, count: 1 }]);
  refuses(
    () => destination.move.expect(SOURCE),
    "head 1 of mhsld state 'state' owns blocks, it cannot take those of 0",
  );
  destination.release([{ first: 19, count: 1 }]);
  const waiting = attach(SOURCE, { wait: true });
  refuses(
    () => waiting.move.expect(OTHER),
    "head 0 of mhsld state 'state' is in use, what head 1 owns cannot move to it",
  );
  destination.move.expect(SOURCE);
  const moving = { message: "head 0 of mhsld state 'state' is being moved to head 1" };
  t.throws(() => waiting.move.expect(SOURCE), moving);
  t.throws(() => onlooker.move.expect(SOURCE), moving);
  t.throws(() => destination.claim([{ first: 19, count: 1 }]), {
    message: "head 1 of mhsld state 'state' is migrating",
  });
  source.move.give();
  t.throws(() => source.move.give(), { message: /nobody waits/ });
  t.throws(() => source.claim([{ first: 19, count: 1 }]), {
    message: "head 0 of mhsld state 'state' is migrating",
  });
  t.ok(source.move.takeBack());
  t.equal(owners(), expected(SOURCE));
});

t.test('every head may be on the move at once, four pairs at a time', async (t) => {
  const objects = new NativeSharedObjects(loader, privateFolder(t));
  const options = { name: 'state', blocks: 8, init: true, adopt: false };
  const heads = Array.from({ length: 8 }, (_, head) => Pool.attach(objects, { ...options, head }));
  t.teardown(() => heads.forEach((head) => head.leave()));
  const pairs = [0, 2, 4, 6].map((head) => [heads[head], heads[head + 1]] as const);
  for (const [from] of pairs) from?.claim([{ first: from.head, count: 1 }]);
  for (const [from, to] of pairs) to?.move.expect(from?.head ?? 0);
  for (const [from] of pairs) from?.move.give();
  for (const [, to] of pairs) to?.move.take();
  for (const [from] of pairs) from?.move.letGo();
  t.strictSame(
    heads[0]?.owners().map(({ first, heads }) => [first, heads]),
    [0, 2, 4, 6].map((block) => [block, [block + 1]]),
  );
});
