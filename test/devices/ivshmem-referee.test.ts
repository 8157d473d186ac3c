import { join } from 'node:path';
import t from 'tap';
import { privateFolder } from '../support/daemon.js';
import { startIvshmem } from '../support/ivshmem.js';
import { IvshmemGuest } from '../support/ivshmem-guest.js';
import { native } from '../support/passing.js';
import { refereeMissing } from '../support/referee.js';

const noReferee =
  refereeMissing() || (native === undefined ? 'koffi is not installed' : (false as const));

const SLOT = 2 ** 31 + 4 * 2048;
const REGISTERS = 0xe0000000;
const MSIX = 0xe0001000;
const config = (register: number, access: string): string[] => [
  `outl 0xcf8 ${String(SLOT + register)}`,
  access,
];
const dump = Array.from({ length: 64 }, (_, i) => config(4 * i, 'inl 0xcfc')).flat();
const ones = [0x04, 0x0c, 0x10, 0x14, 0x18, 0x1c, 0x30, 0x3c, 0x40, 0x44, 0x48].flatMap((at) =>
  config(at, 'outl 0xcfc 0xffffffff'),
);
const again = [
  ...config(0x04, 'outl 0xcfc 6'),
  ...config(0x10, `outl 0xcfc ${String(REGISTERS)}`),
  ...config(0x14, `outl 0xcfc ${String(MSIX)}`),
  ...config(0x18, 'outl 0xcfc 0xe1000000'),
  ...config(0x1c, 'outl 0xcfc 0'),
];
/** Every width at `offsets` of a BAR: read, write, read. */
const accesses = (base: number, offsets: readonly number[]): string[] =>
  offsets.flatMap((offset) =>
    ['b', 'w', 'l', 'q'].flatMap((width) => {
      const at = String(base + offset);
      return [`read${width} ${at}`, `write${width} ${at} 0x1122334455667788`, `read${width} ${at}`];
    }),
  );

const SCRIPT = [
  ...dump,
  ...ones,
  ...dump,
  ...again,
  ...accesses(REGISTERS, [0, 1, 2, 3, 0x10, 0x40, 0xfc]),
  ...accesses(REGISTERS, [4, 6]),
  ...['readl 0xe000000c', 'readw 0xe000000e', 'readb 0xe000000c'],
  ...accesses(MSIX, [0, 4, 8, 12, 14, 16, 24, 28, 32, 0x7f0, 0x800, 0x804, 0x808, 0xff8]),
  ...config(0x40, 'outl 0xcfc 0'),
  ...dump,
];

t.test('every access answers as with real QEMU', { skip: noReferee }, async (t) => {
  const run = async (program: 'qmemd' | 'qemu'): Promise<string[]> => {
    const folder = privateFolder(t);
    const server = join(folder, 's');
    await startIvshmem(t, ['-S', server, '-m', folder, '-n', '2', '-l', '1M']);
    const guest = await IvshmemGuest.start(t, { program, server, vectors: 2 });
    const replies = await guest.ask(SCRIPT);
    return SCRIPT.map((line, i) => `${line} -> ${replies[i] ?? ''}`);
  };
  t.strictSame(await run('qmemd'), await run('qemu'));
});
