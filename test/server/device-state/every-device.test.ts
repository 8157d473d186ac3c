import t from 'tap';
import { CTL } from '../../support/state-client.js';
import { readControl, writeControl } from '../../../devices/state/ctl-registers.js';
import type { StateRegions } from '../../../devices/state/regions.js';
import type { DeviceEntry } from '../../../server/machine/device-entry.js';
import { DUT, machineWith, RECIPE_TYPES } from '../../support/every-device.js';
import { needsNative } from '../../support/mdevice.js';

/** Every device type through the regions: its configuration, and what it has of memory. */

const LENGTHS = { config: 2 ** 20, memory: 2 ** 20, bitmap: 4096 };
/** Memory beyond is left to the test of the migration. */
const MOST_MEMORY = 2n ** 25n;

const number = (regions: StateRegions, offset: number, size: 4 | 8): number => {
  const bytes = Buffer.from(readControl(regions, offset, size));
  return size === 4 ? bytes.readUInt32LE() : Number(bytes.readBigUInt64LE());
};
const put = (regions: StateRegions, offset: number, size: 4 | 8, value: number): void => {
  const bytes = Buffer.alloc(size);
  if (size === 4) bytes.writeUInt32LE(value);
  else bytes.writeBigUInt64LE(BigInt(value));
  writeControl(regions, offset, bytes);
};

const moveConfig = (from: StateRegions, to: StateRegions): void => {
  const size = number(from, CTL.CONFIG_SIZE, 8);
  put(from, CTL.CONFIG_ACTION, 4, 1);
  to.write('config', 0, from.read('config', 0, size));
  put(to, CTL.CONFIG_SIZE, 8, size);
  put(to, CTL.CONFIG_ACTION, 4, 2);
};
/** @returns bytes of the pass */
const movePass = (from: StateRegions, to: StateRegions): number => {
  const size = number(from, CTL.MEMORY_SIZE, 8);
  if (size === 0) return 0;
  put(to, CTL.MEMORY_SIZE, 8, size);
  for (let pos = 0; pos < size; pos += LENGTHS.memory) {
    put(from, CTL.MEMORY_POS, 8, pos);
    put(from, CTL.MEMORY_ACTION, 4, 1);
    to.write('memory', 0, from.read('memory', 0, LENGTHS.memory));
    put(to, CTL.MEMORY_POS, 8, pos);
    put(to, CTL.MEMORY_ACTION, 4, 2);
  }
  return size;
};
const contents = ({ memories }: DeviceEntry): Buffer[] =>
  memories.list.map(({ memory }) => {
    const bytes = Buffer.alloc(Number(memory.size));
    memory.read(0n, bytes);
    return bytes;
  });

const configurationOf = ({ device }: DeviceEntry) => device.stateImage?.save() ?? device.save();

for (const type of RECIPE_TYPES.filter((name) => name !== 'vfio-state'))
  t.test(`${type} moves through its regions`, needsNative, async (t) => {
    const [one, other] = [await machineWith(t, type), await machineWith(t, type)];
    const [source, target] = [one.machine.devices.find(DUT), other.machine.devices.find(DUT)];
    if (source.pci !== undefined) source.pci.pci.writeConfig(4, 2, 6);
    const [from, to] = [source, target].map(({ state }) => state.attachRegions(LENGTHS));
    if (from === undefined || to === undefined) throw new Error('two devices');
    const capabilities = number(from, CTL.CAPS, 4);
    t.equal((capabilities & 1) !== 0, source.memories.size > 0n);
    t.equal((capabilities & 2) !== 0, source.pci !== undefined);
    put(to, CTL.STATE, 4, 1);
    put(from, CTL.STATE, 4, 2);
    if (source.memories.size > 0n && source.memories.size <= MOST_MEMORY) {
      for (const [i, { memory }] of source.memories.list.entries())
        memory.write(0n, Uint8Array.of(1, 2, 3, i));
      t.ok(movePass(from, to) > Number(source.memories.size));
      source.memories.list[0]?.memory.write(8n, Uint8Array.of(4));
      put(from, CTL.STATE, 4, 3);
      t.equal(movePass(from, to), 48 + 4096);
      t.equal(movePass(from, to), 0);
      const same = contents(source).every((bytes, i) => contents(target)[i]?.equals(bytes));
      t.ok(same, 'the same memory');
    }
    put(from, CTL.STATE, 4, 3);
    moveConfig(from, to);
    t.strictSame(configurationOf(target), configurationOf(source));
    put(to, CTL.STATE, 4, 0);
    put(from, CTL.STATE, 4, 0);
    t.equal(target.activity.stopped, false);
  });
