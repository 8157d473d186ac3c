import t from 'tap';
import { memoryByte } from '../../devices/state-sample/registers.js';
import type { Json } from '../side-by-side/client.js';
import { startDaemon } from '../support/daemon.js';
import { startMachine } from '../support/machine.js';
import { StateClient } from '../support/state-client.js';

const start = async (t: Parameters<typeof startMachine>[0], options = '') => {
  const started = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', '-device', `state-sample,id=s0${options}`],
  ]);
  const execute = async (name: string, args?: Record<string, Json>): Promise<Json> =>
    (await started.run(name, args)) as Json;
  const client = new StateClient({ execute }, 's0');
  await client.enable();
  return { ...started, client };
};

t.test('properties that cannot be are refused', async (t) => {
  const { run } = await startMachine(t, ['-M', 'pc', '-nodefaults']);
  for (const [property, value, rule] of [
    ['memory-size', 0n, /memory-size is 0, not 1 to 268435456/],
    ['memory-size', 2n ** 28n + 1n, /memory-size is 268435457/],
    ['config-size', 60n, /config-size is 60, not a multiple of 4 from 64 to 65536/],
    ['config-size', 66n, /config-size is 66/],
    ['config-size', 65_540n, /config-size is 65540/],
    ['capabilities', 0n, /capabilities is 0, not 1, 2 or 3/],
    ['capabilities', 4n, /capabilities is 4/],
  ] as const)
    await t.rejects(run('device_add', { driver: 'state-sample', id: 's1', [property]: value }), {
      message: rule,
    });
});

t.test('a host that gives no memory is told as the reason', async (t) => {
  const words = ['-M', 'pc', '-nodefaults', '-device', 'state-sample,id=s0'];
  await t.rejects(startDaemon(t, words, { nativeDisabled: true }), {
    message:
      /^-device state-sample,id=s0: cannot set up the memory of the device: .*optional package koffi/,
  });
});

t.test('memory and configuration of other sizes', async (t) => {
  const { client } = await start(t, ',memory-size=4097,config-size=64');
  const memory = await client.readBar(2, 4097);
  t.ok(memory.every((byte, i) => byte === memoryByte(i)));
  t.match(await client.info(), { 'memory-size': 4097n, 'config-size': 32n + 16n + 64n });
  await client.writeBar(0, 64, [9]);
  t.strictSame([...(await client.readBar(0, 65)).subarray(62)], [62, 63, 0], 'nothing behind it');
});

t.test('DMA writes what the configuration says, and nothing that is too long', async (t) => {
  const { client, machine } = await start(t);
  await client.dma(0x1000n, 5);
  const bytes = machine.platform.memory.readBytes(0x0fffn, 7);
  t.strictSame([...bytes], [0, 0, 0, 0, 0, 0, 0], 'the byte to fill with is 0');
  await client.writeBar(0, 0x1c, [0xab]);
  await client.dma(0x1000n, 5);
  // The request that comes before has the byte 0 behind the length.
  await client.writeBar(0, 0x1c, [0xab]);
  await client.writeBar(0, 0x1_0000, [1, 0, 0, 0]);
  t.strictSame(
    [...machine.platform.memory.readBytes(0x0fffn, 7)],
    [0, ...Array<number>(5).fill(0xab), 0],
  );
  await client.writeBar(0, 0x18, [1, 0, 0x10, 0]);
  await client.writeBar(0, 0x1_0000, [1, 0, 0, 0]);
  t.equal(machine.platform.memory.readBytes(0x1005n, 1)[0], 0);
});

t.test('a reset brings the configuration back, power-on the memory too', async (t) => {
  const { client, run, machine } = await start(t);
  await client.writeBar(2, 0, [0xaa]);
  await client.writeBar(0, 0, [0xaa]);
  await run('system_reset');
  await client.enable();
  t.equal((await client.readBar(0, 1))[0], 0);
  t.equal((await client.readBar(2, 1))[0], 0xaa);
  machine.devices.find('s0').device.reset('cold');
  await client.enable();
  t.equal(await client.digest(), '15eddd53473f38c5');
});
