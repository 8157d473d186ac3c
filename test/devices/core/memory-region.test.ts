import fc from 'fast-check';
import t from 'tap';
import { AddressSpace } from '../../../devices/core/address-space.js';
import type { AccessSize } from '../../../devices/core/host-memory.js';
import { MemoryRegion } from '../../../devices/core/memory-region.js';
import type { AccessRules } from '../../../devices/core/memory-region.js';
import { ArrayMemory } from '../../support/pci.js';

/** Registers that note every callback; each reads as its offset in every byte. */
const recorder = (size: bigint, rules?: AccessRules) => {
  const calls: string[] = [];
  const region = MemoryRegion.mmio(
    'registers',
    size,
    {
      read: (offset, width) => {
        calls.push(`r${String(offset)}/${String(width)}`);
        return BigInt.asUintN(8 * width, BigInt(offset) * 0x0101010101010101n);
      },
      write: (offset, width, value) => {
        calls.push(`w${String(offset)}/${String(width)}=${value.toString(16)}`);
      },
    },
    rules,
  );
  return { calls, region, space: new AddressSpace(region, 'zeros') };
};

t.test('the topmost region serves, and holes of a container show what lies below', async (t) => {
  // reference/pci-and-memory-devices.md §6.1, example
  const a = MemoryRegion.container('A', 0x8000n);
  const b = MemoryRegion.container('B', 0x4000n);
  const leaf = (name: string, size: bigint) =>
    MemoryRegion.ram(name, { memory: new ArrayMemory(Number(size)) });
  a.add(leaf('C', 0x6000n), 0n, 1);
  a.add(b, 0x2000n, 2);
  b.add(leaf('D', 0x1000n), 0n);
  b.add(leaf('E', 0x1000n), 0x2000n);
  const space = new AddressSpace(a, 'zeros');
  const names = [0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n].map(
    (page) => space.resolve(page * 0x1000n)?.region.name ?? '-',
  );
  t.strictSame(names, ['C', 'C', 'D', 'C', 'E', 'C', '-', '-']);
  t.equal(space.resolve(0x2fffn)?.offset, 0xfffn);
  t.equal(space.resolve(0x8000n), undefined);
});

t.test('of equal priorities the region added last wins', async (t) => {
  const root = MemoryRegion.container('root', 0x100n);
  const one = MemoryRegion.container('one', 0x100n);
  const pair = [1, 2].map((n) => {
    const memory = new ArrayMemory(0x10);
    memory.bytes.fill(n);
    return MemoryRegion.ram(String(n), { memory });
  });
  const [first, second] = pair as [MemoryRegion, MemoryRegion];
  root.add(one, 0n);
  one.add(first, 0n, 1);
  one.add(second, 0n, 1);
  const space = new AddressSpace(root, 'zeros');
  t.equal(space.read(0n, 1), 2n);
  one.remove(first);
  one.add(first, 0n, 1);
  t.equal(space.read(0n, 1), 1n);
  first.enabled = false;
  t.equal(space.read(0n, 1), 2n);
  t.throws(() => one.add(first, 4n), { message: /already part/ });
});

t.test('one bus access becomes the accesses that the registers take (§6.3)', async (t) => {
  const whole = { impl: { min: 4, max: 4 } } as const;
  const strict = { valid: { min: 4, max: 8 }, impl: { min: 4, max: 4 } } as const;
  const wide = { valid: { min: 4, max: 8 }, impl: { min: 4, max: 8 } } as const;
  for (const [name, rules, at, length, calls] of [
    ['8 bytes are two dwords by default', {}, 0, 8, ['r0/4', 'r4/4']],
    ['3 bytes at 1 are 1 and 2', {}, 1, 3, ['r1/1', 'r2/2']],
    ['a byte of a dword register keeps its offset', whole, 1, 1, ['r1/4']],
    [
      'a dword of byte registers is four reads',
      { impl: { max: 1 } },
      0,
      4,
      ['r0/1', 'r1/1', 'r2/1', 'r3/1'],
    ],
    ['too narrow for the rules is refused', strict, 0, 2, []],
    ['8 bytes may be one read', wide, 8, 8, ['r8/8']],
    ['8 valid bytes are split by the implementation', strict, 8, 8, ['r8/4', 'r12/4']],
    ['misaligned 8 bytes are split, small ends refused', strict, 2, 8, ['r4/4']],
    [
      'unaligned implementations get it whole',
      { valid: { unaligned: true }, impl: { unaligned: true } },
      1,
      4,
      ['r1/4'],
    ],
    ['the end of the region cuts nothing off', {}, 12, 4, ['r12/4']],
  ] as const) {
    const { calls: seen, space } = recorder(14n, rules);
    space.readBytes(BigInt(at), length);
    t.strictSame(seen, calls, name);
  }
});

t.test('values are little-endian and masked to the access', async (t) => {
  const { calls, space } = recorder(0x20n, { impl: { min: 4, max: 4 } });
  t.equal(space.read(1n, 1), 1n);
  t.equal(space.read(4n, 8), 0x0808080804040404n);
  space.write(4n, 8, 0x1122334455667788n);
  space.write(9n, 1, 0xffn);
  t.strictSame(calls.slice(-3), ['w4/4=55667788', 'w8/4=11223344', 'w9/4=ff']);
});

t.test('registers refuse an access from within their own access', async (t) => {
  const space: AddressSpace = new AddressSpace(
    MemoryRegion.mmio('loop', 4n, {
      read: () => space.read(0n, 4) + 1n,
      write: () => undefined,
    }),
    'zeros',
  );
  t.equal(space.read(0n, 4), 1n, 'the inner access read 0');
});

t.test('nobody answers: memory reads 0, ports read all-ones, writes go nowhere', async (t) => {
  const root = MemoryRegion.container('root', 0x10000n);
  for (const [hole, value] of [
    ['zeros', 0n],
    ['ones', 0xffffn],
  ] as const) {
    const space = new AddressSpace(root, hole);
    space.write(0x1234n, 2, 0x5555n);
    t.equal(space.read(0x1234n, 2), value);
    t.equal(space.read(0x20000n, 2), value, 'beyond the end');
  }
});

t.test('read-only memory keeps its bytes', async (t) => {
  const memory = new ArrayMemory(4);
  memory.bytes.set([1, 2, 3, 4]);
  const space = new AddressSpace(MemoryRegion.ram('rom', { memory, readonly: true }), 'zeros');
  space.write(0n, 4, 0n);
  t.equal(space.read(0n, 4), 0x04030201n);
});

t.test('a RAM region shows its part of the memory and where that is', async (t) => {
  const memory = new ArrayMemory(0x100);
  memory.bytes[0x40] = 7;
  const region = MemoryRegion.ram('part', { memory, offset: 0x40n, size: 0x10n });
  t.equal(new AddressSpace(region, 'zeros').read(0n, 1), 7n);
  t.strictSame([region.host?.offset, region.size], [0x40n, 0x10n]);
  t.throws(() => MemoryRegion.ram('far', { memory, offset: 0xf8n, size: 0x10n }), {
    message: /beyond its memory/,
  });
});

/** A tree of regions, and the same tree painted byte by byte: which leaf shows where. */
interface Plan {
  readonly kind: 'container' | 'ram' | 'alias';
  readonly size: number;
  readonly at: number;
  readonly priority: number;
  readonly enabled: boolean;
  readonly children: readonly Plan[];
}
type Painted = readonly (readonly [MemoryRegion, number] | undefined)[];

const planOf = (depth: number): fc.Arbitrary<Plan> =>
  fc.record({
    kind: fc.constantFrom('container', 'ram', 'alias'),
    size: fc.integer({ min: 1, max: 40 }),
    at: fc.integer({ min: 0, max: 40 }),
    priority: fc.integer({ min: -2, max: 2 }),
    enabled: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(false)),
    children: depth === 0 ? fc.constant([]) : fc.array(planOf(depth - 1), { maxLength: 4 }),
  });
const plan = planOf(3).map((tree) => ({ ...tree, enabled: true }));

const shown = (
  region: MemoryRegion,
  enabled: boolean,
  painted: Painted,
): [MemoryRegion, Painted] => {
  region.enabled = enabled;
  return [region, enabled ? painted : []];
};

const build = ({ kind, size, at, enabled, children }: Plan): [MemoryRegion, Painted] => {
  const built = children.map((child) => [child, ...build(child)] as const);
  const [aliased] = built;
  if (kind === 'alias' && aliased !== undefined) {
    const [, target, painted] = aliased;
    const region = MemoryRegion.alias('alias', target, BigInt(at), BigInt(size));
    return shown(
      region,
      enabled,
      Array.from({ length: size }, (_, i) => painted[at + i]),
    );
  }
  const region =
    kind === 'ram'
      ? MemoryRegion.ram('ram', { memory: new ArrayMemory(size) })
      : MemoryRegion.container('container', BigInt(size));
  for (const [child, sub] of built) region.add(sub, BigInt(child.at), child.priority);
  const layers = [...built].sort(([a], [b]) => a.priority - b.priority);
  const content: Painted = Array.from({ length: size }, (_, i) =>
    kind === 'ram' ? ([region, i] as const) : undefined,
  );
  const painted = layers.reduce<Painted>(
    (below, [child, , above]) => below.map((leaf, i) => above[i - child.at] ?? leaf),
    content,
  );
  return shown(region, enabled, painted);
};

t.test('resolution agrees with painting the tree byte by byte', async () => {
  fc.assert(
    fc.property(plan, (tree) => {
      const [region, painted] = build(tree);
      const space = new AddressSpace(region, 'zeros');
      return painted.every((leaf, i) => {
        const found = space.resolve(BigInt(i));
        return (
          found?.region === leaf?.[0] && (leaf === undefined || found?.offset === BigInt(leaf[1]))
        );
      });
    }),
    { numRuns: 500 },
  );
});

t.test('bulk reads and writes agree with single bytes', async () => {
  fc.assert(
    fc.property(
      plan,
      fc.integer({ min: 0, max: 30 }),
      fc.integer({ min: 1, max: 40 }),
      (tree, at, length) => {
        const [region] = build(tree);
        const space = new AddressSpace(region, 'ones');
        const bytes = Uint8Array.from({ length }, (_, i) => i + 1);
        space.writeBytes(BigInt(at), bytes);
        const read = space.readBytes(BigInt(at), length);
        return read.every(
          (byte, i) => BigInt(byte) === space.read(BigInt(at + i), 1 as AccessSize),
        );
      },
    ),
    { numRuns: 300 },
  );
});

t.test('accesses follow every change of the tree', async () => {
  const change = fc.record({
    what: fc.constantFrom('add', 'remove', 'switch'),
    child: fc.integer({ min: 0, max: 5 }),
    parent: fc.integer({ min: 0, max: 2 }),
    at: fc.integer({ min: 0, max: 40 }),
    priority: fc.integer({ min: -1, max: 1 }),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const ram = (size: number, fill: number): MemoryRegion => {
        const memory = new ArrayMemory(size);
        memory.write(0n, new Uint8Array(size).fill(fill));
        return MemoryRegion.ram('ram', { memory });
      };
      const box = (): MemoryRegion => MemoryRegion.container('box', 64n);
      const [root, inner, hidden] = [box(), box(), box()];
      const parents = [root, inner, hidden];
      const alias = MemoryRegion.alias('alias', hidden, 3n, 30n);
      const children = [ram(5, 1), ram(17, 2), ram(64, 3), ram(9, 4), alias, ram(30, 5)];
      const held = new Map<MemoryRegion, MemoryRegion>();
      root.add(inner, 0n, 1);
      const space = new AddressSpace(root, 'ones');
      return changes.every(({ what, child: index, parent: to, at, priority }) => {
        const [child, parent] = [children[index] ?? alias, parents[to] ?? root];
        held.get(child)?.remove(child);
        held.delete(child);
        if (what === 'switch') child.enabled = !child.enabled;
        if (what !== 'remove' && !(child === alias && parent === hidden)) {
          parent.add(child, BigInt(at), priority);
          held.set(child, parent);
        }
        const fresh = new AddressSpace(root, 'ones');
        return [0n, 1n, 4n, 7n, 16n, 33n, 40n, 57n, 63n].every((address) =>
          ([1, 4, 8] as const).every(
            (size) => space.read(address, size) === intOf(fresh.readBytes(address, size)),
          ),
        );
      });
    }),
    { numRuns: 300 },
  );
});

/** The little-endian integer of up to eight bytes. */
const intOf = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
