import t from 'tap';
import { encodeConfig } from '../../../devices/state/config-format.js';
import type { DeviceEntry } from '../../../server/machine/device-entry.js';
import type { Machine } from '../../../server/machine/machine.js';
import { saveBoard } from '../../../server/migration/board-state.js';
import { STATE } from '../../../devices/state/target.js';
import { blocksOf } from '../../../server/migration/memories.js';
import { checkActive } from '../../../server/migration/standstill.js';
import { machineWith, RECIPE_TYPES } from '../../support/every-device.js';
import { move } from '../../support/loopback.js';

/** What keeps a machine with such a device where it is. */
const BLOCKED: Readonly<Record<string, RegExp>> = {
  'ivshmem-doorbell': /^Migration is disabled when using feature 'peer mode' in device 'ivshmem'$/,
  'ivshmem-plain': /^Migration is disabled when using feature 'peer mode' in device 'ivshmem'$/,
  'shm-pci': /^Migration is disabled when using an ivshmem server in device 'shm-pci'$/,
};
/** Its machines are of one pool: test/devices/cxl-mhsld has them. */
const ELSEWHERE = ['cxl-mhsld'];

const registers = ({ type, device }: DeviceEntry): string =>
  Buffer.from(encodeConfig({ typeName: type.name, version: 1 }, device.save())).toString('base64');
const registersOf = (machine: Machine): Record<string, string> =>
  Object.fromEntries(
    [...machine.devices.entries].map((entry) => [entry.object.path, registers(entry)]),
  );

const SAMPLE = 64 * 1024;
const places = (size: bigint): bigint[] =>
  size < BigInt(SAMPLE) ? [0n] : [0n, (size / 2n / 4096n) * 4096n, size - BigInt(SAMPLE)];
/** A few bytes of every memory. */
const memoryOf = (machine: Machine): Record<string, string> =>
  Object.fromEntries(
    blocksOf(machine).map((block) => {
      const bytes = places(block.size).map((place) => {
        const sample = Buffer.alloc(Number(block.size) < SAMPLE ? Number(block.size) : SAMPLE);
        block.memory().read(place, sample);
        return sample.toString('base64');
      });
      return [`${block.owner} ${block.name}`, bytes.join()];
    }),
  );
const writeMemory = (machine: Machine): void => {
  for (const [index, block] of blocksOf(machine).entries())
    for (const place of places(block.size))
      block.memory().write(place + 4n, Buffer.alloc(1000, index + 1));
};

for (const type of RECIPE_TYPES) {
  if (ELSEWHERE.includes(type)) continue;
  t.test(`a machine with ${type}`, async (t) => {
    const { machine: source } = await machineWith(t, type);
    const blocked = BLOCKED[type];
    if (blocked !== undefined) {
      t.throws(
        () => source.migration.start('unix:/x', { resume: false, disks: false }, () => undefined),
        { message: blocked },
      );
      return;
    }
    const { machine: destination } = await machineWith(t, type, ['-incoming', 'defer']);
    for (const { pci } of source.devices.entries) {
      pci?.pci.writeConfig(4, 2, 0x406);
      pci?.pci.writeConfig(0x3c, 1, 0x1b);
    }
    source.platform.io.write(0xcf8n, 4, 0x8000_0810n);
    source.platform.io.write(0x510n, 2, 3n);
    writeMemory(source);
    const before = registersOf(source);
    t.strictSame(await move(source, destination), { status: 'completed' });
    t.strictSame(registersOf(destination), before, 'its registers');
    t.strictSame(memoryOf(destination), memoryOf(source), 'its memory');
    t.strictSame(saveBoard(destination), saveBoard(source), 'the board around it');
    t.equal(destination.runState.status, 'running');
    t.equal(source.runState.status, 'postmigrate');
  });
}

t.test('a device that somebody has stopped keeps its machine where it is', async (t) => {
  const { machine } = await machineWith(t, 'edu');
  const [entry] = [...machine.devices.entries].filter(({ id }) => id === 'dut');
  const release = entry?.activity.hold();
  t.equal(entry?.state.isStopped, false, 'held, as while it is saved');
  checkActive(machine);
  release?.();
  entry?.state.setState(STATE.STOP);
  const start = (): void =>
    machine.migration.start('unix:/x', { resume: false, disks: false }, () => undefined);
  t.throws(start, {
    message: "Device 'dut' is stopped: it must run while its machine migrates",
  });
});
