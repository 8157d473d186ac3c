import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { DeviceState, StateValue } from '../../devices/core/device.js';
import type { MemoryRegion } from '../../devices/core/memory-region.js';
import { userDeviceTypes } from '../../devices/index.js';
import type { PciFunction } from '../../devices/pci/function.js';
import { decodeConfig, encodeConfig } from '../../devices/state/config-format.js';
import { QmpError } from '../../schema/error.js';
import type { DeviceEntry } from '../../server/machine/device-entry.js';
import { DUT, machineWith, RECIPE_TYPES } from '../support/every-device.js';
import { startMachine, type TestMachine } from '../support/machine.js';
import { needsNative } from '../support/mdevice.js';

// The contract that every device type keeps: docs/device-state.md.

/** Mutated states for each device type; more in `npm run soak`. */
const MUTATIONS = Number(process.env['QMEMD_STATE_MUTATIONS'] ?? 15);

const dut = ({ machine }: TestMachine): DeviceEntry => machine.devices.find(DUT);
const identityOf = ({ type }: DeviceEntry) => ({
  typeName: type.name,
  version: type.stateVersion ?? 1,
});
const bytesOf = (entry: DeviceEntry): Uint8Array =>
  encodeConfig(identityOf(entry), entry.device.save());

/** The regions of host memory inside a region. */
const ramOf = (region: MemoryRegion): MemoryRegion[] => [
  ...(region.kind === 'ram' ? [region] : []),
  ...region.subregions.flatMap((sub) => ramOf(sub.region)),
];
const ramBehindBars = ({ pci }: DeviceEntry): MemoryRegion[] =>
  (pci?.pci.bars ?? [])
    .flatMap(({ region }) => ramOf(region))
    .filter(({ name }) => !/rom/.test(name));

/** The text of the refusal, undefined when the state was taken; anything else fails. */
const refusal = ({ device }: DeviceEntry, state: DeviceState): string | undefined => {
  try {
    device.load(state);
    return undefined;
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    return error.message;
  }
};

/** Software looks at everything and writes to all registers. */
const useEverything = (fn: PciFunction): void => {
  fn.writeConfig(4, 2, 7);
  for (let at = 0; at < fn.config.size; at += 4) fn.readConfig(at, 4);
  for (const { index, size } of fn.bars)
    for (let at = 0; at < Math.min(Number(size), 0x200); at += 4) {
      fn.readBar(index, at, 4);
      fn.writeBar(index, at, 4, 1n);
    }
};

/** Places of the values in a state, deepest last. */
const pathsIn = (value: StateValue, path: readonly string[] = []): (readonly string[])[] =>
  typeof value !== 'object' || value instanceof Uint8Array
    ? [path]
    : [path, ...Object.entries(value).flatMap(([key, one]) => pathsIn(one, [...path, key]))];

/** The state with what `change` makes of the value at a place; undefined takes it out. */
const changed = (
  value: StateValue,
  [key, ...rest]: readonly string[],
  change: (value: StateValue) => StateValue | undefined,
): StateValue | undefined => {
  if (key === undefined) return change(value);
  if (Array.isArray(value)) {
    const items = value.map((one, i) => (String(i) === key ? changed(one, rest, change) : one));
    return items.filter((one) => one !== undefined);
  }
  const fields = Object.entries(value as DeviceState).map(([name, one]) => [
    name,
    name === key ? changed(one, rest, change) : one,
  ]);
  return Object.fromEntries(fields.filter(([, one]) => one !== undefined)) as DeviceState;
};

const ODD: readonly (StateValue | undefined)[] = [
  ...[undefined, -1, 0, 1, 2, 7, 0.5, NaN, 0xff, 0x10000, 2 ** 32, 2 ** 53],
  ...[-1n, 0n, 1n, 4096n, 0xffff_ffffn, 1n << 40n, (1n << 64n) - 1n, 1n << 64n],
  ...['', 'text', true, false, [], {}, new Uint8Array(0), [0], [{}], { a: 1 }],
];
/** What becomes of one value: something odd, or of bytes the same with some others. */
const change = fc.oneof(
  fc.constantFrom(...ODD).map((odd) => () => odd),
  fc
    .array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 })
    .map((edits) => (value: StateValue) => {
      if (!(value instanceof Uint8Array) || value.length === 0) return value;
      const bytes = value.slice();
      for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
      return bytes;
    }),
  fc.constant((value: StateValue) => (Array.isArray(value) ? [...value, ...value] : value)),
);

t.test('every type that users can create is covered', async (t) => {
  const types = userDeviceTypes.filter(
    ({ abstract, userCreatable }) => abstract !== true && userCreatable !== false,
  );
  t.strictSame(
    types.map(({ name }) => name).filter((name) => !RECIPE_TYPES.includes(name)),
    [],
  );
});

for (const type of RECIPE_TYPES)
  t.test(`${type} keeps the contract`, needsNative, async (t) => {
    const [one, other] = [await machineWith(t, type), await machineWith(t, type)];
    const [source, target] = [dut(one), dut(other)];

    t.test('the same state has the same bytes, and they are the whole state', async (t) => {
      const release = source.activity.hold();
      const state = source.device.save();
      t.strictSame(source.device.save(), state);
      t.strictSame(decodeConfig(identityOf(source), bytesOf(source)), state);
      t.strictSame(bytesOf(source), bytesOf(source));
      release();
    });

    t.test('a fresh device takes it over', async (t) => {
      if (source.pci !== undefined) useEverything(source.pci.pci);
      const state = source.device.save();
      target.device.load(state);
      t.strictSame(target.device.save(), state);
    });

    t.test('memory that it shows is its own, and tells of writes', async (t) => {
      const shown = ramBehindBars(source);
      const own = source.memories.list;
      if (shown.length > 0 || source.memory !== undefined) t.ok(own.length > 0, 'has memory');
      t.equal(new Set(own.map(({ name }) => name)).size, own.length);
      for (const { host } of shown) {
        const told: string[] = [];
        const unhook = own.map(({ name, memory }) => memory.onWrite(() => void told.push(name)));
        host?.memory.writeInt(host.offset, 4, 0x1234n);
        t.equal(told.length, 1);
        for (const stop of unhook) stop();
      }
    });

    t.test('a state of another type is refused', async (t) => {
      const before = target.device.save();
      t.throws(() => decodeConfig({ typeName: 'other', version: 1 }, bytesOf(source)), {
        message: `state of device type 'other' at byte 17: is of device type '${type}'`,
      });
      for (const state of [{}, { pci: {} }, { other: 1n }])
        t.type(refusal(target, state), 'string');
      t.strictSame(target.device.save(), before);
    });

    t.test('a damaged state is refused and changes nothing, or works', async () => {
      const good = source.device.save();
      const paths = pathsIn(good).slice(1);
      const property = fc.property(fc.nat(), change, (at, how) => {
        const before = target.device.save();
        const state = changed(good, paths[at % paths.length] ?? [], how) as DeviceState;
        if (refusal(target, state) !== undefined) {
          assert.deepEqual(target.device.save(), before);
          return;
        }
        if (target.pci !== undefined) useEverything(target.pci.pci);
        const { clock } = other.machine;
        clock.advance(clock.now() + 10_000_000_000n);
        const after = target.device.save();
        assert.deepEqual(decodeConfig(identityOf(target), bytesOf(target)), after);
        target.device.load(good);
      });
      fc.assert(property, { numRuns: MUTATIONS });
    });
  });

for (const kind of ['pc', 'q35'])
  t.test(`the parts of ${kind} keep the contract`, needsNative, async (t) => {
    const words = ['-M', kind, '-m', '64M'];
    const [one, other] = [await startMachine(t, words), await startMachine(t, words)];
    const parts = [...one.machine.devices.entries];
    t.ok(parts.length > 3);
    const targets = [...other.machine.devices.entries];
    for (const [i, part] of parts.entries()) {
      part.pci?.pci.writeConfig(0x40, 4, 0x1234);
      const state = part.device.save();
      t.strictSame(decodeConfig(identityOf(part), bytesOf(part)), state, part.type.name);
      targets[i]?.device.load(state);
      t.strictSame(targets[i]?.device.save(), state, part.type.name);
      t.type(refusal(part, {}), 'string');
      t.strictSame(part.device.save(), state);
    }
  });
