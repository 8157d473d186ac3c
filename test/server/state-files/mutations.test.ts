import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { STATE } from '../../../devices/state/target.js';
import { QmpError } from '../../../schema/error.js';
import type { DeviceEntry } from '../../../server/machine/device-entry.js';
import { configImage } from '../../../server/machine/device-state.js';
import { connectWhenUp, privateFolder, spawnDaemon } from '../../support/daemon.js';
import { DUT, machineWith, RECIPE_TYPES } from '../../support/every-device.js';
import type { TestMachine } from '../../support/machine.js';
import { needsNative, randomBytes } from '../../support/saved-device.js';
import { StateMutator } from '../../support/state-mutator.js';

// npm run soak asks for a million.
const RUNS = Number(process.env['STATE_MUTATIONS'] ?? '10000');
const SEED = Number(process.env['SEED'] ?? '1');

/** Some pages of every memory are not zero. */
const fill = ({ memories }: DeviceEntry): void => {
  for (const { memory } of memories.list)
    for (const offset of [0n, 8192n, memory.size - 4096n])
      memory.write(offset, randomBytes(Number(offset % 251n) + 1, 4096));
};

/** Loads damaged states, one after the other; each is refused or loaded. @returns how many are */
const loadDamaged = async (
  t: Test,
  { machine, run }: TestMachine,
  count: number,
  mutator: StateMutator,
): Promise<number> => {
  const entry = machine.devices.find(DUT);
  fill(entry);
  await machine.turn.enter();
  const { data } = (await run('device-save', { id: DUT })) as { data: string };
  const sound = Buffer.from(data, 'base64');
  await run('device-state-set', { id: DUT, state: 'stop' });
  const identity = { typeName: entry.type.name, version: entry.type.stateVersion ?? 1 };
  const image = configImage(entry);
  let written = 0;
  for (const { memory } of entry.memories.list) memory.onWrite(() => written++);
  const request = { entry, name: DUT, gone: new AbortController().signal };
  let loaded = 0;
  let before = image.save();
  for (let i = 0; i < count; i++) {
    const damaged = mutator.mutate(sound, identity);
    written = 0;
    try {
      await machine.stateFiles.loadInline(request, damaged);
      loaded++;
    } catch (error) {
      const isUntouched = written === 0 && Buffer.compare(image.save(), before) === 0;
      if (error instanceof QmpError && isUntouched) continue;
      t.comment(damaged.toString('base64'));
      throw new Error(`run ${String(i)}${isUntouched ? '' : ', half loaded'}`, { cause: error });
    }
    // What was loaded can be saved, loaded again, and can run.
    before = image.save();
    image.load(before);
    if (loaded % 16 !== 0) continue;
    entry.state.setState(STATE.RUNNING);
    entry.state.setState(STATE.STOP);
    await machine.stateFiles.loadInline(request, sound);
    before = image.save();
  }
  t.comment(`${String(loaded)} of ${String(count)} loaded`);
  t.notOk(entry.state.loading);
  await machine.stateFiles.loadInline(request, sound);
  machine.turn.leave();
  await run('device-state-set', { id: DUT, state: 'running' });
  return loaded;
};

t.test(`${String(RUNS)} damaged states, seed ${String(SEED)}`, needsNative, async (t) => {
  const shares: number[] = RECIPE_TYPES.map((type) => (/type3|mhsld/.test(type) ? 1 : 10));
  const all = shares.reduce((a, b) => a + b);
  let loaded = 0;
  for (const [i, type] of RECIPE_TYPES.entries())
    await t.test(type, async (t) => {
      const count = Math.ceil((RUNS * (shares[i] ?? 1)) / all);
      loaded += await loadDamaged(
        t,
        await machineWith(t, type),
        count,
        new StateMutator(SEED * 100 + i),
      );
    });
  t.ok(loaded > 0 && loaded < RUNS, `${String(loaded)} were loaded`);
});

t.test('damaged states that come to a process, inline and in files', needsNative, async (t) => {
  const folder = privateFolder(t);
  const socket = join(folder, 'qmp.sock');
  const memory = ['-object', 'memory-backend-ram,id=m,size=1M', '-device', 'iopmem,id=d,memdev=m'];
  const monitor = ['-qmp', `unix:${socket},server=on,wait=off`];
  const { child } = spawnDaemon(t, ['-M', 'q35', '-nodefaults', ...memory, ...monitor]);
  const qmp = await connectWhenUp(socket);
  t.teardown(() => qmp.close());
  const { data } = (await qmp.execute('device-save', { id: 'd' })) as { data: string };
  await qmp.execute('device-state-set', { id: 'd', state: 'stop' });
  const mutator = new StateMutator(SEED);
  const path = join(folder, 'state');
  const outcomes = { loaded: 0, refused: 0 };
  for (let i = 0; i < 300; i++) {
    const damaged = mutator.mutate(Buffer.from(data, 'base64'), { typeName: 'iopmem', version: 1 });
    writeFileSync(path, damaged);
    const where = i % 2 === 0 ? { path } : { data: damaged.toString('base64') };
    const outcome = await qmp.execute('device-load', { id: 'd', ...where }).then(
      () => 'loaded' as const,
      (error: unknown) => {
        t.match(error, { class: 'GenericError', message: /^cannot load device 'd'/ });
        return 'refused' as const;
      },
    );
    outcomes[outcome]++;
  }
  t.ok(outcomes.loaded > 0 && outcomes.refused > 0);
  await qmp.execute('device-load', { id: 'd', data });
  t.match(await qmp.execute('device-save', { id: 'd' }), { data });
  t.equal(child.exitCode, null);
});
