import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { FRAME } from '../../../server/state-files/layout.js';
import {
  needsNative,
  randomBytes,
  savedDevice,
  type SavedDevice,
} from '../../support/saved-device.js';

const PAGE = 4096;
const refusal = (message: string) => ({ class: 'GenericError', message });
const stop = (device: SavedDevice): Promise<unknown> =>
  device.run('device-state-set', { id: 'd', state: 'stop' });
const filled = async (t: Test, words: readonly string[] = []): Promise<SavedDevice> => {
  const device = await savedDevice(t, [BigInt(3 * PAGE)], words);
  device.memories[0]?.write(0n, randomBytes(1, 3 * PAGE));
  return device;
};
const inline = async (device: SavedDevice): Promise<Buffer> => {
  const { data } = (await device.run('device-save', { id: 'd' })) as { data: string };
  return Buffer.from(data, 'base64');
};
const load = (device: SavedDevice, bytes: Uint8Array): Promise<unknown> =>
  device.run('device-load', { id: 'd', data: Buffer.from(bytes).toString('base64') });

t.test('arguments', needsNative, async (t) => {
  const device = await filled(t);
  const missing = { class: 'DeviceNotFound', message: `Device 'x' not found` };
  await t.rejects(device.run('device-save', { id: 'x' }), missing);
  await t.rejects(device.run('device-load', { id: 'x', path: '/x' }), missing);
  const one = refusal(`device-load takes either 'path' or 'data'`);
  await t.rejects(device.run('device-load', { id: 'd' }), one);
  await t.rejects(device.run('device-load', { id: 'd', path: '/x', data: '' }), one);
  await t.rejects(
    device.run('device-load', { id: 'd', data: '!' }),
    refusal(`Parameter 'data' expects base64`),
  );
});

t.test('a device that is not in state stop is not loaded', needsNative, async (t) => {
  const device = await filled(t, ['-global', 'edu.x-vfio-state=on']);
  const bytes = await inline(device);
  const text = `device-load needs state stop`;
  await t.rejects(load(device, bytes), refusal(`device 'd' is running: ${text}`));
  for (const state of ['stop-logging', 'running-logging']) {
    await device.run('device-state-set', { id: 'd', state });
    await t.rejects(load(device, bytes), { message: new RegExp(`^device 'd' is \\w+: ${text}$`) });
  }
  await stop(device);
  const size = { id: 'd', region: 'control', offset: 20n, data: 'EAAAAAAAAAA=' };
  await device.run('vfio-state-write', size);
  await t.rejects(load(device, bytes), refusal(`device 'd' is being loaded through its regions`));
  await device.run('vfio-state-write', { ...size, data: 'AAAAAAAAAAA=' });
  await load(device, bytes);
  device.entry.state.outside.begin();
  await t.rejects(device.run('vfio-state-write', size), /EBUSY, device 'd' is being loaded/);
});

t.test('places that cannot be', needsNative, async (t) => {
  const device = await filled(t);
  const folder = t.testdir({ folder: {}, file: 'x' });
  fs.symlinkSync(join(folder, 'file'), join(folder, 'link'));
  execFileSync('mkfifo', [join(folder, 'fifo')]);
  const before = fs.readdirSync(folder);
  await stop(device);
  for (const [name, save, read] of [
    ['folder', 'it exists and is not a regular file', 'it is not a regular file'],
    ['fifo', 'it exists and is not a regular file', 'it is not a regular file'],
    ['link', 'it exists and is not a regular file', 'at byte 1: it ends here'],
    ['nowhere/file', 'No such file or directory', 'No such file or directory'],
    ['file/file', 'Not a directory', 'Not a directory'],
    ['a\0b', 'No such file or directory', 'No such file or directory'],
    ['x'.repeat(300), 'File name too long', 'File name too long'],
  ] as const) {
    const path = `${folder}/${name}`;
    await t.rejects(
      device.run('device-save', { id: 'd', path }),
      refusal(`cannot save device 'd' to '${path}': ${save}`),
    );
    await t.rejects(
      device.run('device-load', { id: 'd', path }),
      refusal(`cannot load device 'd' from '${path}': ${read}`),
    );
  }
  t.strictSame(fs.readdirSync(folder), before, 'nothing is left behind');
  const path = join(folder, 'file');
  await device.run('device-save', { id: 'd', path });
  await device.run('device-load', { id: 'd', path });
  t.strictSame(fs.readdirSync(folder), before, 'a regular file is replaced');
});

t.test('a full file system', needsNative, async (t) => {
  const device = await savedDevice(t, [BigInt(1 << 20)]);
  device.memories[0]?.write(0n, randomBytes(1, 1 << 20));
  const path = '/dev/full';
  // Not every host has it, and there it would be made.
  if (fs.existsSync(path))
    await t.rejects(device.run('device-save', { id: 'd', path }), /not a regular file/);
  // Not t.testdir(): it is removed before the teardown that unmounts.
  const folder = fs.mkdtempSync(join(tmpdir(), 'qmemd-test-'));
  t.teardown(() => fs.rmdirSync(folder));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    t.comment('skipped: mounting a tmpfs needs root');
    return;
  }
  t.teardown(() => execFileSync('umount', ['-l', folder]));
  const small = join(folder, 'state');
  fs.writeFileSync(small, 'as before');
  await t.rejects(
    device.run('device-save', { id: 'd', path: small }),
    refusal(`cannot save device 'd' to '${small}': No space left on device`),
  );
  t.strictSame(fs.readdirSync(folder), ['state']);
  t.equal(fs.readFileSync(small, 'latin1'), 'as before');
});

t.test('limit inline-state', needsNative, async (t) => {
  const { length } = await inline(await filled(t));
  const edge = await filled(t, ['--limit', `inline-state=${String(length)}`]);
  const bytes = await inline(edge);
  await stop(edge);
  await load(edge, bytes);
  const past = await filled(t, ['--limit', `inline-state=${String(length - 1)}`]);
  await t.rejects(
    inline(past),
    refusal(
      `cannot save device 'd': it has more than ${String(length - 1)} bytes (limit 'inline-state'): name a path`,
    ),
  );
  await stop(past);
  await t.rejects(
    load(past, bytes),
    refusal(
      `state of ${String(length)} bytes is more than ${String(length - 1)} (limit 'inline-state'): name a path`,
    ),
  );
  await past.run('device-save', { id: 'd', path: join(t.testdir(), 'state') });
});

t.test('limit state-jobs, and one job for each device', needsNative, async (t) => {
  const words = ['--limit', 'state-jobs=2', '-device', 'edu,id=e', '-device', 'edu,id=f'];
  const device = await filled(t, words);
  const busy = [device.run('device-save', { id: 'd' }), device.run('device-save', { id: 'e' })];
  await t.rejects(
    device.run('device-save', { id: 'd' }),
    refusal(`device 'd' is being saved already`),
  );
  await t.rejects(
    device.run('device-save', { id: 'f' }),
    refusal(`2 devices are being saved or loaded already (limit 'state-jobs')`),
  );
  await Promise.all(busy);
  const bytes = await inline(device);
  await stop(device);
  const loading = load(device, bytes);
  await t.rejects(load(device, bytes), refusal(`device 'd' is being loaded already`));
  await loading;
  await device.run('device-save', { id: 'f' });
});

t.test('a state of another device', needsNative, async (t) => {
  const bytes = await inline(await filled(t));
  const other = await savedDevice(t, [8192n]);
  await stop(other);
  await t.rejects(
    load(other, bytes),
    refusal(
      `cannot load device 'd': it has memory 'm0' of 8192 bytes, the state memory 'm0' of 12288 bytes`,
    ),
  );
  const more = await savedDevice(t, [12_288n, 4096n]);
  await stop(more);
  await t.rejects(load(more, bytes), /it has memory 'm1' of 4096 bytes, the state no more memory$/);
  const mask = await savedDevice(t, [12_288n], ['-global', 'edu.dma_mask=255']);
  await stop(mask);
  await t.rejects(
    load(mask, bytes),
    refusal(
      `cannot load device 'd': it has dma_mask=255, the state was saved with dma_mask=268435455`,
    ),
  );
  const port = await filled(t, ['-device', 'pci-bridge,id=b,chassis_nr=1']);
  await port.run('device-state-set', { id: 'b', state: 'stop' });
  await t.rejects(
    port.run('device-load', { id: 'b', data: bytes.toString('base64') }),
    refusal(`cannot load device 'b': it is of type 'pci-bridge', the state of type 'edu'`),
  );
});

t.test('damage is told with its place, and changes nothing', needsNative, async (t) => {
  const device = await filled(t);
  const bytes = await inline(device);
  device.memories[0]?.write(0n, randomBytes(2, 3 * PAGE));
  await stop(device);
  const before = device.snapshot();
  const description = bytes.readUInt32LE(12);
  const blocks = FRAME + description + bytes.readUInt32LE(16);
  const trailer = bytes.length - FRAME;
  const cases: [string, number, string][] = [
    ['magic', 0, 'at byte 0: this is no saved state of a device'],
    ['head', 9, 'at byte 0: wrong CRC-32'],
    ['description', FRAME + 3, 'at byte 32: wrong CRC-32 of description and configuration'],
    [
      'configuration',
      FRAME + description + 5,
      'at byte 32: wrong CRC-32 of description and configuration',
    ],
    ['block', blocks + 9, `at byte ${String(blocks)}: wrong CRC-32`],
    ['run', blocks + FRAME + 2, `at byte ${String(blocks + FRAME)}: wrong CRC-32`],
    ['memory', blocks + FRAME + 5000, `at byte ${String(blocks + FRAME)}: wrong CRC-32`],
    ['trailer', trailer + 9, `at byte ${String(trailer)}: wrong CRC-32`],
  ];
  for (const [name, at, text] of cases) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    await t.rejects(load(device, damaged), refusal(`cannot load device 'd': ${text}`), name);
  }
  for (const length of [0, 31, FRAME, blocks - 1, blocks, blocks + 40, trailer, bytes.length - 1])
    await t.rejects(
      load(device, bytes.subarray(0, length)),
      refusal(`cannot load device 'd': at byte ${String(length)}: it ends here`),
    );
  await t.rejects(
    load(device, Buffer.concat([bytes, Buffer.alloc(3)])),
    refusal(`cannot load device 'd': at byte ${String(bytes.length)}: 3 bytes too many`),
  );
  t.ok(device.snapshot().equals(before));
  t.notOk(device.entry.state.loading);
  await device.run('device-state-set', { id: 'd', state: 'running' });
});

t.test('a file that changes while it is loaded', needsNative, async (t) => {
  const device = await filled(t);
  const path = join(t.testdir(), 'state');
  await device.run('device-save', { id: 'd', path });
  const good = fs.readFileSync(path);
  await stop(device);
  const { device: model } = device.entry;
  const plain = model.load.bind(model);
  // Between the two readings.
  model.load = (state) => {
    plain(state);
    const changed = Buffer.from(good).fill('x', good.length - 100, good.length - 99);
    fs.writeFileSync(path, changed);
  };
  const at = good.length - 2 * FRAME - 3 * PAGE + FRAME - 16;
  await t.rejects(
    device.run('device-load', { id: 'd', path }),
    refusal(
      `cannot load device 'd' from '${path}': at byte ${String(at)}: wrong CRC-32; it is loaded in part, and cannot run until a load succeeds or it is reset`,
    ),
  );
  model.load = plain;
  const running = { id: 'd', state: 'running' };
  await t.rejects(device.run('device-state-set', running), /EINVAL, .* a load is not complete/);
  t.match(await device.run('query-device-state', { id: 'd' }), [{ loading: true }]);
  await t.rejects(load(device, good.subarray(1)), /this is no saved state/);
  await t.rejects(device.run('device-state-set', running), /EINVAL/, 'nor after another failure');
  await load(device, good);
  await device.run('device-state-set', running);
  t.match(await device.run('query-device-state', { id: 'd' }), [{ loading: false }]);
});

t.test('a reset makes a device that was loaded in part whole', needsNative, async (t) => {
  const device = await filled(t);
  const bytes = await inline(device);
  await stop(device);
  const [memory] = device.memories;
  if (memory === undefined) throw new Error('no memory');
  const write = memory.write.bind(memory);
  memory.write = () => false;
  await t.rejects(load(device, bytes), /memory is gone: .*; it is loaded in part/);
  memory.write = write;
  await t.rejects(
    inline(device),
    refusal(
      `cannot save device 'd': it is loaded in part, and is whole when a load succeeds or it is reset`,
    ),
  );
  await device.run('system_reset');
  t.match(await device.run('query-device-state', { id: 'd' }), [
    { loading: false, state: 'running' },
  ]);
});

t.test('a device that is loaded in pieces is saved when that has ended', needsNative, async (t) => {
  const device = await filled(t, ['-global', 'edu.x-vfio-state=on']);
  const path = join(t.testdir(), 'state');
  const write = (offset: bigint, data: Buffer, region = 'control'): Promise<unknown> =>
    device.run('vfio-state-write', { id: 'd', region, offset, data: data.toString('base64') });
  const number = (value: bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    return bytes;
  };
  const SET = Buffer.from([2, 0, 0, 0]);
  const message =
    /^cannot save device 'd': it is being loaded through its regions, and is whole when that is complete or abandoned$/;
  const isRefused = async (): Promise<void> => {
    await t.rejects(device.run('device-save', { id: 'd' }), { message });
    await t.rejects(device.run('device-save', { id: 'd', path }), { message });
    t.equal(fs.existsSync(path), false);
  };
  await stop(device);
  const saved = await inline(device);

  await t.test('its configuration', async () => {
    await write(20n, number(48n));
    await isRefused();
    await write(20n, number(0n));
    t.strictSame(await inline(device), saved, 'abandoned');
  });
  await t.test('its memory, chunk by chunk', async (t) => {
    // More than one chunk of 1 MiB: the first one is there, the second one is not.
    const large = await savedDevice(t, [3n << 20n], ['-global', 'edu.x-vfio-state=on']);
    await stop(large);
    const access = { id: 'd', region: 'control' };
    const size = 48n + (3n << 20n);
    await large.run('vfio-state-write', {
      ...{ ...access, offset: 36n },
      data: number(size).toString('base64'),
    });
    await large.run('vfio-state-write', { ...access, offset: 28n, data: SET.toString('base64') });
    await t.rejects(large.run('device-save', { id: 'd' }), { message });
    await large.run('system_reset');
    await large.run('device-save', { id: 'd', path });
  });
});

t.test(
  'nothing is loaded through the regions of a device that is saved',
  needsNative,
  async (t) => {
    const device = await filled(t, ['-global', 'edu.x-vfio-state=on']);
    await stop(device);
    const size = { id: 'd', region: 'control', offset: 20n, data: 'EAAAAAAAAAA=' };
    const saving = device.run('device-save', { id: 'd', path: join(t.testdir(), 'state') });
    await t.rejects(device.run('vfio-state-write', size), /EBUSY, device 'd' is being saved/);
    await saving;
    await device.run('vfio-state-write', size);
  },
);
