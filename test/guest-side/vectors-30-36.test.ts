import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { privateFolder, type Cleanup } from '../support/daemon.js';
import { startGuest, type Guest } from '../support/qtest.js';

// Test vectors 30 to 36 of reference/pci-and-memory-devices.md §11: dynamic-mdevice over the qtest
// socket.

const BAR0 = 0xe000_0000;
const BAR2 = 0xe100_0000;
const FILE_SIZE = 65_536;

// Offsets of §7.2.
const INT_MASK = BAR0;
const INT_STATUS = BAR0 + 0x04;
const DOOR_BELL = BAR0 + 0x08;
const MEM_ALIGN = BAR0 + 0x0c;
const HW_OFFSET = BAR0 + 0x10;
const MEM_SIZE = BAR0 + 0x18;
const MEM_OFFSET = BAR0 + 0x20;
const ATTACH = 0x8000_0001;
const DETACH = 0x8000_0002;

/** The MSI capability. §7.1 */
const MSI = 0x40;
const MESSAGE = 0x3000;
const MESSAGE_DATA = 0x4242;

interface Mdevice extends Guest {
  /** Descriptor of the file behind the device. */
  readonly fd: number;
  set(register: number, value: number, width?: 'l' | 'q'): Promise<void>;
  get(register: number, width?: 'b' | 'l' | 'q'): Promise<number>;
  attach(size: number, offset: number): Promise<void>;
}

/** `size=16M,align=4K` over a file of 64 KiB, each page of which holds its own number. */
const mdevice = async (t: Cleanup): Promise<Mdevice> => {
  const path = join(privateFolder(t), 'memory');
  const fd = openSync(path, 'w+');
  t.teardown(() => closeSync(fd));
  for (let page = 0; page < FILE_SIZE / 4096; page++) writeSync(fd, Buffer.alloc(4096, page + 1));
  const guest = await startGuest(t, [
    ...['-M', 'q35', '-nodefaults'],
    ...['-device', `dynamic-mdevice,id=dm,addr=4,size=16M,align=4K,mem-path=${path}`],
  ]);
  const dm = guest.config(4);
  await dm.write(0x10, BAR0);
  await dm.write(0x18, BAR2);
  await dm.write(0x04, 6, 2);
  const set: Mdevice['set'] = async (register, value, width = 'l') => {
    const reply = await guest.qtest.ask(`write${width} ${String(register)} ${String(value)}`);
    if (reply !== 'OK') throw new Error(reply);
  };
  return {
    ...guest,
    fd,
    set,
    get: async (register, width = 'l') =>
      Number(await guest.qtest.value(`read${width} ${String(register)}`)),
    attach: async (size, offset) => {
      await set(MEM_SIZE, size, 'q');
      await set(MEM_OFFSET, offset, 'q');
      await set(DOOR_BELL, ATTACH);
    },
  };
};

t.test('30: attach; the status stays until it is cleared', async (t) => {
  const { attach, get, set, fd } = await mdevice(t);
  await attach(0x2000, 0x1000);
  t.equal(await get(INT_STATUS), 1);
  t.equal(await get(HW_OFFSET, 'q'), 0x2000);
  t.equal(await get(INT_STATUS), 1);
  t.equal(await get(BAR2, 'b'), 2, 'byte 0x1000 of the file');
  await set(BAR2 + 1, 0xa5a5_a5a5);
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, 0x1004);
  t.equal(byte[0], 0xa5, 'what is written is in the file');
});

t.test('31: attachments that cannot be', async (t) => {
  const { attach, get, set } = await mdevice(t);
  await attach(0x2000, 0x1000);
  await set(INT_STATUS, 1);
  t.equal(await get(INT_STATUS), 0);
  await attach(0x1800, 0x1000);
  t.equal(await get(INT_STATUS), 0x8, 'the size is no multiple of the alignment');
  await attach(0x1000, 0x800);
  t.equal(await get(INT_STATUS), 0x8, 'nor is the offset');
  await attach(0x1000, FILE_SIZE);
  t.equal(await get(INT_STATUS), 0xc, 'past the end of the file');
  t.equal(await get(HW_OFFSET, 'q'), 0x2000, 'nothing came of them');
});

t.test('32: halves of a 64-bit register', async (t) => {
  const { get, set } = await mdevice(t);
  await set(MEM_SIZE + 4, 1);
  await set(MEM_SIZE, 0x1000);
  t.equal(await get(MEM_SIZE, 'q'), 0x1_0000_1000);
});

t.test('33: one of two attachments is detached', async (t) => {
  const { attach, get, set } = await mdevice(t);
  await attach(0x1000, 0);
  await attach(0x1000, 0x1000);
  await set(INT_STATUS, 0xff);
  await set(MEM_OFFSET, 0, 'q');
  await set(DOOR_BELL, DETACH);
  t.equal(await get(INT_STATUS), 0x2);
  t.equal(await get(BAR2), 0);
  t.equal(await get(INT_STATUS), 0x12, 'an access to where nothing is');
  t.equal(await get(BAR2 + 0x1000, 'b'), 2);
  t.equal(await get(HW_OFFSET, 'q'), 0x2000);
});

t.test('34: messages, masked and not', async (t) => {
  const { attach, get, set, config } = await mdevice(t);
  await attach(0x1000, 0);
  t.equal(await get(0), 0, 'without MSI nothing is written to address 0');
  await set(INT_STATUS, 1);
  const dm = config(4);
  await dm.write(MSI + 4, MESSAGE);
  await dm.write(MSI + 0xc, MESSAGE_DATA, 2);
  await dm.write(MSI + 2, 1, 2);
  await set(INT_MASK, 1);
  await attach(0x1000, 0x1000);
  t.equal(await get(MESSAGE), 0, 'masked');
  await set(INT_MASK, 0);
  t.equal(await get(MESSAGE), MESSAGE_DATA);
  await set(MESSAGE, 0);
  await set(INT_MASK, 0);
  t.equal(await get(MESSAGE), 0, 'one message for one event');
  t.equal(await get(0), 0);
});

t.test('35: door bells that mean nothing', async (t) => {
  const { get, set } = await mdevice(t);
  await set(DOOR_BELL, 1);
  t.equal(await get(INT_STATUS), 0);
  await set(DOOR_BELL, 0x8000_0099);
  t.equal(await get(INT_STATUS), 0x20);
});

t.test('36: a system reset takes everything back', async (t) => {
  const { attach, get, set, config, qmp } = await mdevice(t);
  const dm = config(4);
  await dm.write(MSI + 4, MESSAGE);
  await dm.write(MSI + 0xc, MESSAGE_DATA, 2);
  await dm.write(MSI + 2, 1, 2);
  await attach(0x2000, 0x1000);
  await set(MESSAGE, 0);
  await qmp.execute('system_reset');
  t.equal(await get(MESSAGE), 0, 'without a message');
  await dm.write(0x10, BAR0);
  await dm.write(0x18, BAR2);
  await dm.write(0x04, 6, 2);
  for (let register = BAR0; register < BAR0 + 0x28; register += 4)
    t.equal(await get(register), register === MEM_ALIGN ? 4096 : 0, `0x${register.toString(16)}`);
  t.equal(await get(BAR2), 0);
});
