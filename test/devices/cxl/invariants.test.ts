import fc from 'fast-check';
import t from 'tap';
import { packExtent, partsWithin, type Extent } from '../../../devices/cxl/extents.js';
import { viewOf } from '../../../devices/cxl/bytes.js';
import {
  BLOCK,
  blocksOf,
  check,
  checkInvariants,
  drain,
  writeBlock,
  type ExpectedRecord,
} from '../../support/capacity-model.js';
import { MiB, Type3Bench, dynamicOnly, responseBytes } from '../../support/type3.js';

/** Sequences of commands from both sides; more of them with CXL_RUNS. */
const RUNS = Number(process.env['CXL_RUNS'] ?? 30);
const REGIONS = 2;
/** Blocks of one region, few enough that ranges meet often. */
const BLOCKS = 128;

interface Spot {
  readonly start: number;
  readonly count: number;
}
type Step =
  | { readonly kind: 'add'; readonly region: number; readonly spots: Spot[] }
  | { readonly kind: 'fabric-add'; readonly region: number; readonly spots: Spot[] }
  | { readonly kind: 'free' | 'contiguous'; readonly region: number; readonly count: number }
  | { readonly kind: 'accept'; readonly part: number; readonly more: boolean }
  | { readonly kind: 'answer'; readonly spots: Spot[]; readonly more: boolean }
  | { readonly kind: 'give-back'; readonly which: number; readonly part: number }
  | { readonly kind: 'give-back-spots'; readonly spots: Spot[] }
  | {
      readonly kind: 'release';
      readonly region: number;
      readonly spots: Spot[];
      readonly forced: boolean;
      readonly sanitize: boolean;
    }
  | { readonly kind: 'write'; readonly block: number; readonly value: number }
  | { readonly kind: 'drain' | 'reset' };

const region = fc.integer({ min: 0, max: REGIONS });
const spot = fc.record({
  start: fc.integer({ min: 0, max: 40 }),
  count: fc.integer({ min: 0, max: 6 }),
});
const spots = fc.array(spot, { maxLength: 5 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('add'), region, spots }),
  fc.record({ kind: fc.constant('fabric-add'), region, spots }),
  fc.record({
    kind: fc.constantFrom('free', 'contiguous'),
    region,
    count: fc.integer({ min: 0, max: 20 }),
  }),
  fc.record({
    kind: fc.constant('accept'),
    part: fc.integer({ min: 0, max: 3 }),
    more: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('answer'), spots, more: fc.boolean() }),
  fc.record({ kind: fc.constant('give-back'), which: fc.nat(20), part: fc.nat(3) }),
  fc.record({ kind: fc.constant('give-back-spots'), spots }),
  fc.record({
    ...{ kind: fc.constant('release'), region, spots },
    ...{ forced: fc.boolean(), sanitize: fc.boolean() },
  }),
  fc.record({
    kind: fc.constant('write'),
    block: fc.nat(50),
    value: fc.integer({ min: 1, max: 255 }),
  }),
  fc.record({ kind: fc.constantFrom('drain', 'reset') }),
);

/** Ranges of blocks from the start of a region on. */
const inRegion = (index: number, list: readonly Spot[]) =>
  list.map(({ start, count }) => ({
    base: BigInt(index * BLOCKS + start) * BLOCK,
    len: BigInt(count) * BLOCK,
  }));

class Run {
  readonly bench: Type3Bench;
  readonly expected: ExpectedRecord[] = [];
  /** What accepted blocks read as, where something was written. */
  readonly bytes = new Map<number, number>();
  readonly #erased = new Set<number>();

  constructor(bench: Type3Bench) {
    this.bench = bench;
  }
  get #capacity() {
    return this.bench.capacity;
  }

  /** Carries a step out; a refusal must change nothing. */
  step(given: Step): void {
    const { bench } = this;
    const before = bench.state.save();
    const accepted = this.#capacity.accepted;
    const generation = this.#capacity.generation;
    if (!this.#run(given)) t.strictSame(bench.state.save(), before, '5: refused, nothing changed');
    const changed = this.#capacity.accepted !== accepted;
    check(changed === (this.#capacity.generation !== generation), '7: generation');
    checkInvariants(bench, this.bytes);
  }

  #run(given: Step): boolean {
    switch (given.kind) {
      case 'add':
      case 'free':
      case 'contiguous':
        return this.#add(given);
      case 'fabric-add':
        return this.#fabricAdd(inRegion(given.region, given.spots));
      case 'accept':
        return this.#answer(this.#offered(given.part), given.more);
      case 'answer':
        return this.#answer(inRegion(0, given.spots), given.more);
      case 'give-back':
        return this.#giveBack(this.#had(given.which, given.part));
      case 'give-back-spots':
        return this.#giveBack(inRegion(0, given.spots));
      case 'release':
        return this.#release(given);
      case 'write':
        if (writeBlock(this.bench, given.block, given.value))
          this.bytes.set(given.block, given.value);
        return true;
      case 'drain':
        drain(this.bench, this.expected);
        return true;
      case 'reset':
        return this.#reset();
    }
  }

  #add(given: Step & { kind: 'add' | 'free' | 'contiguous' }): boolean {
    const extents =
      given.kind === 'add'
        ? given.spots.map(({ start, count }) => ({
            offset: BigInt(start) * BLOCK,
            len: BigInt(count) * BLOCK,
          }))
        : [{ offset: 0n, len: BigInt(given.count) * BLOCK }];
    const policy = given.kind === 'add' ? 'prescriptive' : given.kind;
    return this.#offer(() =>
      this.bench.manager.add({ hostId: 0, policy, region: given.region, extents }),
    );
  }
  #fabricAdd(ranges: readonly { base: bigint; len: bigint }[]): boolean {
    const input = new Uint8Array(32 + 40 * ranges.length);
    input[2] = 2;
    viewOf(input).setUint32(28, ranges.length, true);
    const tagged: Extent[] = ranges.map((range) => ({
      ...range,
      tag: '0'.repeat(32),
      sequence: 0,
    }));
    tagged.forEach((extent, i) => input.set(packExtent(extent), 32 + 40 * i));
    return this.#offer(() => {
      if (this.bench.state.fabric.execute(0x5604, input).code !== 0) throw new Error('refused');
    });
  }
  /** Expects the records of the group that `run` makes pending. */
  #offer(run: () => void): boolean {
    const groups = this.#capacity.pending.length;
    if (!succeeds(run)) return false;
    const group = this.#capacity.pending[groups];
    if (group !== undefined) this.#expect(0, group.extents, group.id);
    return true;
  }
  #expect(type: number, ranges: readonly { base: bigint; len: bigint }[], group = 0): void {
    ranges.forEach(({ base, len }, i) => {
      const more = i < ranges.length - 1 ? 1 : 0;
      this.expected.push({ type, dpa: base, len, more, group });
    });
  }

  /** All or parts of the oldest offer. */
  #offered(part: number): { base: bigint; len: bigint }[] {
    const offer = this.#capacity.pending[0]?.extents ?? [];
    if (part === 0) return [...offer];
    return offer
      .slice(0, part)
      .map(({ base, len }) => ({ base, len: len > BLOCK ? len - BLOCK : len }));
  }
  #answer(entries: readonly { base: bigint; len: bigint }[], more: boolean): boolean {
    const { pending } = this.#capacity;
    const had = blocksOf(this.#capacity.accepted).length;
    const { code } = this.bench.run(0x4802, responseBytes(entries, more));
    if (code !== 0) return false;
    const taken = blocksOf(entries);
    const now = blocksOf(this.#capacity.accepted).length;
    check(now === had + taken.length, '6: bytes accepted');
    const rest = this.#capacity.pending.map(({ id }) => id);
    const expected = pending.map(({ id }) => id).slice(more ? 0 : 1);
    check(JSON.stringify(rest) === JSON.stringify(expected), '8: one group, the oldest');
    return true;
  }

  #had(which: number, part: number): { base: bigint; len: bigint }[] {
    const { accepted } = this.#capacity;
    const extent = accepted[which % Math.max(accepted.length, 1)];
    if (extent === undefined) return [];
    const skip = BigInt(part) * BLOCK;
    return [extent.len > skip ? { base: extent.base + skip, len: BLOCK } : extent];
  }
  #giveBack(entries: readonly { base: bigint; len: bigint }[]): boolean {
    const had = blocksOf(this.#capacity.accepted);
    const { code } = this.bench.run(0x4803, responseBytes(entries));
    if (code !== 0) return false;
    const gone = new Set(blocksOf(entries));
    const left = had.filter((block) => !gone.has(block));
    check(had.length - left.length === gone.size, '6: bytes released');
    check(
      JSON.stringify(blocksOf(this.#capacity.accepted)) === JSON.stringify(left),
      '13: what is left is what was there without what was asked for',
    );
    this.#forget([...gone]);
    return true;
  }

  #release(given: Step & { kind: 'release' }): boolean {
    const ranges = inRegion(given.region, given.spots);
    const had = partsWithin(this.#capacity.accepted, ranges);
    const extents = given.spots.map(({ start, count }) => ({
      offset: BigInt(start) * BLOCK,
      len: BigInt(count) * BLOCK,
    }));
    const { forced, sanitize } = given;
    const request = { hostId: 0, policy: 'prescriptive' as const, forced, sanitize };
    if (!succeeds(() => this.bench.manager.release({ ...request, region: given.region, extents })))
      return false;
    this.#expect(forced ? 2 : 1, ranges);
    if (sanitize) for (const block of blocksOf(had)) this.#erased.add(block);
    if (forced) this.#forget(blocksOf(had));
    return true;
  }
  /** Blocks went; the next owner finds their bytes, or zeros. */
  #forget(blocks: readonly number[]): void {
    for (const block of blocks) {
      const address = BigInt(block) * BLOCK + 7n;
      const { dynamic } = this.bench.state.media.memory;
      const value = Number(dynamic?.readInt(address, 1) ?? 0n);
      const kept = this.#erased.has(block) ? 0 : (this.bytes.get(block) ?? value);
      check(value === kept, '10: bytes of a released block');
      this.bytes.delete(block);
      this.#erased.delete(block);
    }
  }

  #reset(): boolean {
    this.bench.device.reset('warm');
    this.bench.device.pci.writeConfig(4, 2, 6);
    check(this.#capacity.pending.length === 0, '11: no offer outlives the reset');
    const ids = new Set(this.expected.filter(({ group }) => group > 0).map(({ group }) => group));
    const kept = this.expected.filter(({ group }) => !ids.has(group));
    this.expected.splice(0, this.expected.length, ...kept);
    return true;
  }
}

const succeeds = (run: () => void): boolean => {
  try {
    run();
    return true;
  } catch {
    return false;
  }
};

t.test('the invariants hold between any commands of both sides (§8.8)', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
      const bench = Type3Bench.started(
        { teardown: () => undefined },
        dynamicOnly(512n * MiB, REGIONS),
      );
      const run = new Run(bench);
      for (const one of steps) run.step(one);
      drain(bench, run.expected);
      bench.device.unrealize();
    }),
    { numRuns: RUNS },
  );
  t.pass('no counterexample');
});

t.test('12: add, accept all, release all leads back to the start', async (t) => {
  fc.assert(
    fc.property(fc.array(spot, { minLength: 1, maxLength: 6 }), (list) => {
      const b = Type3Bench.configA({ teardown: () => undefined });
      const { generation: _, nextGroup: __, ...start } = b.capacity.save();
      const extents = list.map(({ start: at, count }) => ({
        offset: BigInt(at) * BLOCK,
        len: BigInt(count) * BLOCK,
      }));
      const request = { hostId: 0, policy: 'prescriptive' as const, region: 0, extents };
      if (!succeeds(() => b.manager.add(request))) return;
      const ranges = inRegion(0, list);
      t.equal(b.run(0x4802, responseBytes(ranges)).code, 0);
      t.equal(b.run(0x4803, responseBytes(ranges)).code, 0);
      const { generation: ___, nextGroup: ____, ...end } = b.capacity.save();
      t.strictSame(end, start);
    }),
    { numRuns: RUNS },
  );
});
