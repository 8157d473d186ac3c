import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import type { HostMemory } from '../../devices/core/host-memory.js';
import type { InterruptSource } from '../../devices/pci/interrupt-counts.js';
import { decodeConfig, encodeConfig } from '../../devices/state/config-format.js';
import type { DeviceEntry } from '../../server/machine/device-entry.js';
import type { Cleanup } from '../support/daemon.js';
import { DUT, machineWith, RECIPE_TYPES } from '../support/every-device.js';
import type { TestMachine } from '../support/machine.js';
import { needsNative } from '../support/mdevice.js';
import { perform } from '../support/state-performing.js';
import { LANDING, operationsOf, type Operation } from '../support/state-operations.js';

// Random operations, save, load into a fresh device, the same further operations on both: nothing
// that software or a client can see tells them apart.

/** Lives of each device type; more in `npm run soak`. */
const LIVES = Number(process.env['QMEMD_STATE_LIVES'] ?? 2);
const OPERATIONS = 40;
const PIECE = 1 << 20;
const SECOND = 1_000_000_000n;

const dut = ({ machine }: TestMachine): DeviceEntry => machine.devices.find(DUT);

/** The parts of a memory that may hold something, with their first bytes. */
function* piecesOf(memory: HostMemory): Generator<readonly [bigint, Uint8Array]> {
  for (let at = 0n; at < memory.size;) {
    const range = memory.stored === undefined ? { start: at, end: memory.size } : memory.stored(at);
    if (range === undefined) return;
    for (at = range.start; at < range.end; at += BigInt(PIECE)) {
      const bytes = new Uint8Array(Number(range.end - at < PIECE ? range.end - at : PIECE));
      memory.read(at, bytes);
      yield [at, bytes];
    }
    at = range.end;
  }
}
const digestOf = (memory: HostMemory): string => {
  const hash = createHash('sha256');
  for (const [at, bytes] of piecesOf(memory))
    if (bytes.some((byte) => byte !== 0)) hash.update(`${String(at)}:`).update(bytes);
  return hash.digest('hex');
};
const landingOf = ({ machine }: TestMachine): Uint8Array =>
  machine.platform.memory.readBytes(LANDING.base, LANDING.size);

/** Configuration, own memory and the RAM of the tests, as migration carries them. */
const move = (from: TestMachine, to: TestMachine): void => {
  const [source, target] = [dut(from), dut(to)];
  const releases = [source, target].map(({ activity }) => activity.hold());
  const identity = { typeName: source.type.name, version: source.type.stateVersion ?? 1 };
  const bytes = encodeConfig(identity, source.device.save());
  for (const [i, { memory }] of source.memories.list.entries())
    for (const [at, piece] of piecesOf(memory)) target.memories.list[i]?.memory.write(at, piece);
  to.machine.platform.memory.writeBytes(LANDING.base, landingOf(from));
  target.device.load(decodeConfig(identity, bytes));
  assert.deepEqual(target.device.save(), source.device.save());
  for (const release of releases) release();
};

/** What became of interrupts, by way and vector. */
const countsOf = ({ pci }: DeviceEntry): Map<string, number> => {
  const counts = new Map<string, number>();
  const add = ({ kind, vectors }: InterruptSource): void => {
    for (const { vector, delivered, dropped } of vectors) {
      counts.set(`${kind} ${String(vector)} delivered`, delivered);
      counts.set(`${kind} ${String(vector)} dropped`, dropped);
    }
  };
  for (const source of pci?.pci.interrupts() ?? []) add(source);
  return counts;
};
const since = (now: Map<string, number>, before: Map<string, number>) =>
  Object.fromEntries(
    [...now]
      .map(([key, count]) => [key, count - (before.get(key) ?? 0)] as const)
      .filter(([, count]) => count > 0)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );

/** Watches a machine from now on. */
const watch = (own: TestMachine) => {
  const entry = dut(own);
  const counts = countsOf(entry);
  const first = own.events.length;
  return (): unknown => ({
    interrupts: since(countsOf(entry), counts),
    lines: Array.from({ length: 24 }, (_, input) => own.machine.platform.interrupts.level(input)),
    events: own.events.slice(first),
    registers: registersOf(entry),
    memory: entry.memories.list.map(({ name, memory }) => [name, digestOf(memory)]),
    landing: Buffer.from(landingOf(own)).toString('hex'),
    // Last: it is what reads left behind, too.
    saved: entry.device.save(),
  });
};
/** All of configuration space, and every register that a BAR shows. */
const registersOf = ({ pci }: DeviceEntry): unknown => {
  if (pci === undefined) return undefined;
  const fn = pci.pci;
  const config = Array.from({ length: fn.config.size / 4 }, (_, i) => fn.readConfig(4 * i, 4));
  fn.writeConfig(4, 2, 7);
  const bars = fn.bars.map(({ index, size }) =>
    Array.from({ length: Math.min(Number(size), 0x1000) / 4 }, (_, i) =>
      fn.readBar(index, 4 * i, 4),
    ),
  );
  return { config, bars };
};

/** Two machines that cannot differ by what they were before. */
const live = async (
  t: Cleanup,
  type: string,
  [before, after]: readonly [readonly Operation[], readonly Operation[]],
): Promise<void> => {
  const from = await machineWith(t, type);
  const to = await machineWith(t, type);
  for (const operation of before) await perform(from, operation);
  // Another time of day, in the same place of a second.
  to.machine.clock.advance(from.machine.clock.now() + 7n * SECOND);
  move(from, to);
  const seen = [watch(from), watch(to)];
  for (const operation of after) {
    const results = [await perform(from, operation), await perform(to, operation)];
    assert.deepEqual(results[1], results[0]);
  }
  for (const own of [from, to]) {
    const { clock } = own.machine;
    clock.advance(clock.now() + 60n * SECOND);
  }
  const [one, other] = seen.map((look) => look());
  assert.deepEqual(other, one);
};

for (const type of RECIPE_TYPES)
  t.test(`${type} goes on elsewhere as it would have here`, needsNative, async () => {
    const operations = operationsOf(type, OPERATIONS);
    const lives = fc.asyncProperty(fc.tuple(operations, operations), async (story) => {
      const closing: (() => unknown)[] = [];
      try {
        await live({ teardown: (end) => void closing.unshift(end) }, type, story);
      } finally {
        for (const end of closing) await end();
      }
    });
    await fc.assert(lives, { numRuns: LIVES, endOnFailure: true });
  });
