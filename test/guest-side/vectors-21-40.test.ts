import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { privateFolder } from '../support/daemon.js';
import { startGuest } from '../support/qtest.js';

// Test vectors 21, 27, 28, 39 and 40 of reference/pci-and-memory-devices.md §11, over the qtest
// socket.

const Q35 = ['-M', 'q35', '-nodefaults'];

t.test('21: backends that cannot be, and one that cannot be written', async (t) => {
  const folder = privateFolder(t);
  const path = join(folder, 'rom');
  writeFileSync(path, Buffer.alloc(1 << 20, 0x5a));
  const { qmp, qtest, config } = await startGuest(t, [
    ...Q35,
    ...['-object', `memory-backend-file,id=rom,size=1M,mem-path=${path},readonly=on`],
    ...['-device', 'ivshmem-plain,id=iv,memdev=rom,addr=4'],
  ]);
  const ram = { 'qom-type': 'memory-backend-ram' };
  const missing = join(folder, 'missing', 'x');
  for (const [args, message] of [
    [{ ...ram, id: 'z', size: 0n }, "property 'size' of memory-backend-ram doesn't take value '0'"],
    [{ ...ram, id: 'z', size: '1M' }, "Parameter 'size' expects uint64"],
    [{ ...ram, id: '1a', size: 4096n }, "Parameter 'id' expects an identifier"],
    [
      { 'qom-type': 'memory-backend-file', id: 'f', size: 4096n, 'mem-path': missing },
      `can't open backing store ${missing} for guest RAM: No such file or directory`,
    ],
  ] as const)
    await t.rejects(qmp.execute('object-add', args), { message });
  await qmp.execute('object-add', { ...ram, id: 'a', size: 4096n });
  await t.rejects(qmp.execute('object-add', { ...ram, id: 'a', size: 4096n }), {
    message: "attempt to add duplicate property 'a' to object (type 'container')",
  });
  await config(4).write(0x18, 0xe0100000);
  await config(4).write(0x04, 2, 2);
  t.equal(await qtest.ask('writel 0xe0100000 0x11223344'), 'OK');
  t.equal(await qtest.value('readl 0xe0100000'), 0x5a5a5a5an, 'a write to a BAR is dropped');
  t.equal(readFileSync(path)[0], 0x5a);
});

t.test('27: bulk data', async (t) => {
  const { qtest } = await startGuest(t, Q35);
  for (const [request, reply] of [
    ['write 0x1000 4 0x0102', 'OK'],
    ['read 0x1000 6', 'OK 0x010200000000'],
    ['memset 0x1000 4 0xab', 'OK'],
    ['b64read 0x1000 4', 'OK q6urqw=='],
    ['b64write 0x1000 3 AQID', 'OK'],
    ['read 0x1000 4', 'OK 0x010203ab'],
  ] as const)
    t.equal(await qtest.ask(request), reply, request);
});

t.test('28: the virtual clock', async (t) => {
  const { qtest } = await startGuest(t, [...Q35, '-accel', 'qtest']);
  for (const [request, reply] of [
    ['clock_step 100', 'OK 100'],
    ['clock_step 0', 'FAIL could not advance time'],
    ['clock_set 1000000000', 'OK 1000000000'],
    ['clock_set 50', 'FAIL 1000000000'],
  ] as const)
    t.equal(await qtest.ask(request), reply, request);
});

t.test('39: a memdev of 3 MiB is refused, and nothing is taken', async (t) => {
  const { qmp, qtest } = await startGuest(t, [
    ...['-M', 'pc', '-nodefaults'],
    ...['-object', 'memory-backend-ram,id=m3,size=3M'],
  ]);
  for (const driver of ['iopmem', 'ivshmem-plain']) {
    await t.rejects(qmp.execute('device_add', { driver, id: 'd', memdev: 'm3' }), {
      message: /power of two/,
    });
    t.equal(await qtest.ask('endianness'), 'OK little');
  }
  const small = { 'qom-type': 'memory-backend-ram', id: 'm4', size: 1n << 20n };
  await qmp.execute('object-add', small);
  await qmp.execute('device_add', { driver: 'ivshmem-plain', id: 'd', memdev: 'm4' });
  await qmp.execute('object-del', { id: 'm3' });
});

t.test('40: malformed requests', async (t) => {
  const { qtest, qmp } = await startGuest(t, Q35);
  for (const request of ['readl zz', 'read 0x1000 0', 'outb 0x10000 1'])
    t.match(await qtest.ask(request), /^FAIL /, request);
  t.equal(await qtest.ask('endianness'), 'OK little');
  t.match(await qmp.execute('query-status'), { status: 'running' });
});
