import { bool, str, uint32 } from '../core/property.js';

/** What the device settles by its index. */
export const AUTOMATIC = 0xffff_ffff;

export const IsaSerialProperties = {
  index: uint32(AUTOMATIC, 'number of the port, 0 to 3; the next free one by default'),
  iobase: uint32(AUTOMATIC, 'first I/O port; that of COM1 to COM4 by default'),
  irq: uint32(AUTOMATIC, 'interrupt line, 0 to 15; that of COM1 to COM4 by default'),
  chardev: str('ID of a chardev to use as a backend'),
  baudbase: uint32(115_200, 'fastest rate in bits per second; stored, bytes take no time here'),
  wakeup: bool(false, 'for a guest that sleeps; nothing depends on it here'),
};
