import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import {
  connectWhenUp,
  eventually,
  privateFolder,
  spawnDaemon,
  startDaemon,
} from '../../support/daemon.js';
import { Qmp } from '../../support/qmp.js';
import { needsNative, randomBytes, savedDevice } from '../../support/saved-device.js';
import type { Json } from '../../side-by-side/client.js';

const MiB = 1 << 20;
const SIZE = 128 * MiB;
const fast = fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** A machine with a device whose memory takes a while to save. */
const largeDevice = (t: Test): { folder: string; words: string[]; memory: string } => {
  const memory = join(privateFolder(t, fast), 'memory');
  const piece = randomBytes(1, MiB);
  const fd = fs.openSync(memory, 'w');
  for (let at = 0; at < SIZE; at += MiB) fs.writeSync(fd, piece, 0, MiB, at);
  fs.closeSync(fd);
  const backend = `memory-backend-file,id=m,size=${String(SIZE)},mem-path=${memory},share=on`;
  const words = ['-M', 'pc', '-object', backend, '-device', 'iopmem,id=d,memdev=m'];
  return { folder: privateFolder(t, fast), words, memory };
};
/** Settles when the device is being saved or loaded. */
const isHeld = (client: Qmp): Promise<void> =>
  eventually('the device is held', async () => {
    const [state] = (await client.execute('query-device-state', { id: 'd' })) as Json[];
    return (state as { consistent: boolean }).consistent;
  });
/** A daemon, one client that saves, another one that looks on. */
const saving = async (t: Test) => {
  const large = largeDevice(t);
  const { qmp, socket } = await startDaemon(t, large.words);
  const other = await Qmp.connect(socket);
  t.teardown(() => other.close());
  const path = join(large.folder, 'state');
  const outcome = qmp.execute('device-save', { id: 'd', path }).then(
    () => 'saved',
    (error: unknown) => (error instanceof Error ? error.message : ''),
  );
  await isHeld(other);
  const gone = `cannot save device 'd' to '${path}'`;
  return { ...large, other, outcome, gone };
};

const abortable = (): { signal: AbortSignal; abort: () => void } => {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
};

t.test('others are served while a large device is saved, and loaded', needsNative, async (t) => {
  const { words, folder, memory } = largeDevice(t);
  const { qmp, socket } = await startDaemon(t, words);
  const other = await Qmp.connect(socket);
  t.teardown(() => other.close());
  const path = join(folder, 'state');
  const answersDuring = async (command: string): Promise<number> => {
    let done = false;
    let answers = 0;
    const running = qmp.execute(command, { id: 'd', path }).finally(() => (done = true));
    for (; ; answers++) {
      await other.execute('query-status');
      if (done) break;
    }
    await running;
    return answers;
  };
  t.ok((await answersDuring('device-save')) > 10);
  t.ok(fs.statSync(path).size > SIZE);
  await qmp.execute('device-state-set', { id: 'd', state: 'stop' });
  fs.writeFileSync(memory, 'other bytes', { flag: 'r+' });
  t.ok((await answersDuring('device-load')) > 10);
  const head = Buffer.alloc(64);
  const fd = fs.openSync(memory, 'r');
  fs.readSync(fd, head, 0, 64, 0);
  fs.closeSync(fd);
  t.ok(head.equals(randomBytes(1, 64)));
});

t.test('a device that leaves ends its saving', needsNative, async (t) => {
  const { other, outcome, gone, folder } = await saving(t);
  await other.execute('device-yank', { id: 'd' });
  t.equal(await outcome, `${gone}: it was unplugged meanwhile`);
  t.strictSame(fs.readdirSync(folder), []);
  t.equal(((await other.execute('query-status')) as { status: string }).status, 'running');
});

t.test('a reset ends it', needsNative, async (t) => {
  const { other, outcome, gone, folder } = await saving(t);
  await other.execute('system_reset');
  t.equal(await outcome, `${gone}: it was reset meanwhile`);
  t.strictSame(fs.readdirSync(folder), []);
});

t.test(
  'a client that is gone ends it, and so does the end of the machine',
  needsNative,
  async (t) => {
    const folder = privateFolder(t, fast);
    const path = join(folder, 'state');
    for (const end of ['client', 'machine'] as const) {
      const device = await savedDevice(t, [BigInt(64 * MiB)]);
      const { machine, entry } = device;
      device.memories[0]?.write(0n, new Uint8Array(64 * MiB).fill(1));
      const { signal, abort } = abortable();
      await machine.turn.enter();
      const outcome = machine.stateFiles.saveFile({ entry, name: 'd', gone: signal }, path);
      const told = t.rejects(
        outcome,
        { message: end === 'client' ? /: the client is gone$/ : /: the machine ends$/ },
        end,
      );
      t.ok(entry.activity.stopped);
      if (end === 'client') abort();
      else await machine.close();
      await told;
      t.strictSame(fs.readdirSync(folder), []);
      t.notOk(entry.activity.stopped);
    }
  },
);

t.test(
  'a client that is gone ends a load that has changed nothing, and no other',
  needsNative,
  async (t) => {
    const device = await savedDevice(t, [BigInt(MiB)]);
    device.memories[0]?.write(0n, randomBytes(1, MiB));
    const { data } = (await device.run('device-save', { id: 'd' })) as { data: string };
    const bytes = Buffer.from(data, 'base64');
    device.memories[0]?.write(0n, randomBytes(2, MiB));
    await device.run('device-state-set', { id: 'd', state: 'stop' });
    const { machine, entry } = device;
    const { signal, abort } = abortable();
    const request = { entry, name: 'd', gone: signal };
    const before = device.snapshot();
    const plain = entry.device.load.bind(entry.device);
    entry.device.load = (state) => {
      plain(state);
      abort();
    };
    await machine.turn.enter();
    await machine.stateFiles.loadInline(request, bytes);
    t.notOk(entry.state.loading);
    t.notOk(device.snapshot().equals(before), 'it went on');
    device.memories[0]?.write(0n, randomBytes(2, MiB));
    await t.rejects(machine.stateFiles.loadInline(request, bytes), /: the client is gone$/);
    t.ok(device.snapshot().equals(before));
  },
);

t.test('a process that is killed leaves no file', needsNative, async (t) => {
  const { folder, words } = largeDevice(t);
  const socket = join(privateFolder(t), 'qmp.sock');
  const { child, exit } = spawnDaemon(t, [...words, '-qmp', `unix:${socket},server=on,wait=off`]);
  const qmp = await connectWhenUp(socket);
  t.teardown(() => qmp.close());
  qmp.send({ execute: 'device-save', arguments: { id: 'd', path: join(folder, 'state') } });
  const descriptors = `/proc/${String(child.pid)}/fd`;
  await eventually('it is being written', () =>
    fs.readdirSync(descriptors).some((fd) => {
      try {
        return fs.readlinkSync(join(descriptors, fd)).startsWith(folder);
      } catch {
        return false;
      }
    }),
  );
  child.kill('SIGKILL');
  await exit;
  t.strictSame(fs.readdirSync(folder), []);
});
