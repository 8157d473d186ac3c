import fc from 'fast-check';
import type { Json } from './client.js';
import { ask, deleting, type Scenario, type Step } from './requests.js';

/** Draws `count` values; the same for the same seed. */
type Draw = <T>(arbitrary: fc.Arbitrary<T>, count: number) => T[];

const identifier = fc.stringMatching(/^[a-z][a-z0-9._-]{0,9}$/);
const oddText = fc.oneof(
  fc.stringMatching(/^[0-9.\/ _-][a-z0-9\/ ]{0,6}$/),
  fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 4 })
    .filter((text) => !/^[a-z]/i.test(text)),
);
/** Everything that JSON can say except integers, which may be valid where these go. */
const otherKind: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(null, true, false, 0.5, -2.25, [], [1n], {}, { size: 1n }),
  fc.stringMatching(/^[a-zA-Z0-9 ]{0,8}$/),
);
const size = fc.bigInt({ min: 1n, max: 1n << 26n });
const tooLarge = fc.bigInt({ min: 1n << 64n, max: 1n << 80n });

const ram = (id: Json, more: { readonly [key: string]: Json }): Step =>
  ask('object-add', { 'qom-type': 'memory-backend-ram', id, ...more });

const backends = (draw: Draw): Step[] => {
  const ids = draw(identifier, 6);
  const sizes = draw(size, 6);
  return [
    ...ids.map((id, i) => ram(id, { size: sizes[i] ?? 1n })),
    ...draw(oddText, 6).map((id) => ram(id, { size: 4096n })),
    ...draw(otherKind, 6).map((value) => ram('other', { size: value })),
    ...draw(tooLarge, 3).map((value) => ram('large', { size: value })),
    ...draw(identifier, 4).map((name) => ram('member', { size: 4096n, [`y-${name}`]: true })),
    ask('query-memdev'),
    ...ids.map((id) => ask('qom-get', { path: `/objects/${id}`, property: 'size' })),
    ...draw(otherKind, 6).map((value) =>
      ask('qom-set', { path: `/objects/${ids[0] ?? ''}`, property: 'merge', value }),
    ),
    ...draw(identifier, 3).map((value) =>
      ask('qom-set', { path: `/objects/${ids[0] ?? ''}`, property: 'policy', value }),
    ),
    ...draw(fc.constantFrom(...ids), 8).map((id) => ask('object-del', { id })),
    ...draw(oddText, 4).map((id) => ask('object-del', { id })),
    ask('query-memdev'),
  ];
};

const memdev = (i: number): string => `m${i}`;

const memdevOptions = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => i).flatMap((i) => [
    '-object',
    `memory-backend-ram,id=${memdev(i)},size=4K`,
  ]);

const address = fc.oneof(
  fc
    .record({ slot: fc.nat(33), fn: fc.nat(8), prefix: fc.constantFrom('', '0', '0x') })
    .map(({ slot, fn, prefix }) => `${prefix}${slot.toString(16)}.${fn}`),
  fc.nat(40).map((slot) => slot.toString(16)),
  fc.stringMatching(/^[0-9a-gx. ]{0,5}$/),
);

const addresses = (draw: Draw): Step[] => {
  const flags = draw(fc.boolean(), 24);
  const adds = draw(address, 24).map((addr, i) =>
    ask('device_add', {
      driver: 'ivshmem-plain',
      id: `d${i}`,
      memdev: memdev(i),
      addr,
      multifunction: flags[i] ?? false,
    }),
  );
  return [...adds, ask('query-pci'), ask('qom-list', { path: '/machine/peripheral' })];
};

/** Devices in slots of their own, so that every removal takes exactly one. */
const comings = (draw: Draw): Step[] => {
  const slots = draw(fc.shuffledSubarray([...Array(28).keys()], { minLength: 8, maxLength: 8 }), 1);
  const placed = (slots[0] ?? []).map((slot, i) => ({ slot: slot + 2, id: `d${i}`, i }));
  const leaving = draw(fc.shuffledSubarray(placed, { minLength: 2 }), 1)[0] ?? [];
  const add = (id: string, i: number, slot: number): Step =>
    ask('device_add', {
      driver: 'ivshmem-plain',
      id,
      memdev: memdev(i),
      addr: slot.toString(16),
    });
  return [
    ...placed.map(({ id, i, slot }) => add(id, i, slot)),
    ...leaving.map(({ id }) => ask('device_del', { id })),
    ...leaving.slice(0, 2).map(({ id }) => ask('device_del', { id })),
    deleting(ask('system_reset'), leaving.length),
    ask('query-pci'),
    ...placed.map(({ i }) => ask('object-del', { id: memdev(i) })),
    ...leaving.slice(0, 3).map(({ id, slot }, n) => add(id, placed.length + n, slot)),
    ask('query-pci'),
    ask('query-memdev'),
  ];
};

const names = (draw: Draw): Step[] => [
  ...draw(identifier, 5).map((name) =>
    ask('device_add', { driver: 'ivshmem-plain', memdev: 'm0', [`y-${name}`]: 'on' }),
  ),
  ...draw(identifier, 3).map((name) => ask('device_add', { driver: `y-${name}` })),
  ...draw(identifier, 3).map((name) => ask('device_del', { id: `y-${name}` })),
  ...draw(otherKind, 4).map((id) => ask('device_del', { id })),
  ...draw(identifier, 3).map((name) => ask('qom-list', { path: `/machine/y-${name}` })),
  ...draw(identifier, 3).map((name) =>
    ask('qom-get', { path: '/machine/peripheral', property: `y-${name}` }),
  ),
  ...draw(identifier, 3).map((name) => ask(`y-${name}`)),
];

/** Scenarios made from `seed`. */
export const generated = (seed: number): Scenario[] => {
  let round = 0;
  const draw: Draw = (arbitrary, count) =>
    fc.sample(arbitrary, { seed: seed + round++, numRuns: count });
  const pc = ['-M', 'pc', '-nodefaults', '-S'];
  const scenario = (name: string, options: string[], steps: Step[]): Scenario => ({
    name,
    options,
    generated: true,
    steps,
  });
  return [
    scenario(
      'made up: backends of any id, size and JSON kind',
      ['-M', 'none', '-S'],
      backends(draw),
    ),
    scenario(
      'made up: PCI addresses in any notation',
      [...pc, ...memdevOptions(24)],
      addresses(draw),
    ),
    scenario(
      'made up: devices come and go in any order',
      [...pc, ...memdevOptions(12)],
      comings(draw),
    ),
    scenario('made up: names that nobody has', [...pc, ...memdevOptions(1)], names(draw)),
  ];
};
