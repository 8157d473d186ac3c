import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { privateFolder, type Cleanup } from '../support/daemon.js';
import { startGuest, type Guest } from '../support/qtest.js';

// Test vectors 37 and 38 of reference/pci-and-memory-devices.md §11: iopmem over the qtest socket.

const MEMORY = 0xe100_0000;

const iopmem = async (t: Cleanup): Promise<Guest & { path: string }> => {
  const path = join(privateFolder(t), 'memory');
  writeFileSync(path, Buffer.alloc(1 << 20));
  const guest = await startGuest(t, [
    ...['-M', 'q35', '-nodefaults'],
    ...['-object', `memory-backend-file,id=m1,size=1M,mem-path=${path},share=on`],
    ...['-device', 'iopmem,memdev=m1,addr=4'],
  ]);
  return { ...guest, path };
};

t.test('37: identity and size', async (t) => {
  const { config } = await iopmem(t);
  const device = config(4);
  for (const register of [0x20, 0x24]) await device.write(register, 0xffffffff);
  t.equal(await device.read(0x20), 0xfff0000c);
  t.equal(await device.read(0x24), 0xffffffff);
  t.equal(await device.read(0x00), 0xf11511f8);
  t.equal(await device.read(0x08), 0x01800202, 'class 0x0180, prog-if 2, revision 2');
  t.equal(await device.read(0x80, 1), 0x10, 'the PCI Express capability');
});

t.test('38: one byte through the BAR is one byte of the file', async (t) => {
  const { config, qtest, path } = await iopmem(t);
  await config(4).write(0x20, MEMORY);
  await config(4).write(0x04, 2, 2);
  t.equal(await qtest.ask(`writeb ${String(MEMORY + 1)} 0xaa`), 'OK');
  t.equal(await qtest.ask(`readl ${String(MEMORY)}`), 'OK 0x000000000000aa00');
  t.strictSame([...readFileSync(path).subarray(0, 4)], [0, 0xaa, 0, 0]);
});
