import { intFromBytes, MemoryRegion, type MmioOps } from '../core/memory-region.js';
import type { PciFunction } from '../pci/function.js';
import { addRegisterPointers, openAccessWindow } from './capabilities.js';
import { PART, PART_SIZE, REGISTERS_SIZE } from './registers.js';
import type { Transport } from './transport.js';

/** What the registers of a virtio function show. */
export interface RegisterBarOptions {
  readonly transport: Transport;
  /** The device configuration as it is now; software cannot write it. */
  readonly config: () => Uint8Array;
}

/**
 * Registers the BAR with the structures of a virtio function without queues, and adds the
 * capabilities that tell where they are.
 *
 * @see Virtio 1.2 §4.1.4
 */
export const registerRegisterBar = (
  fn: PciFunction,
  bar: number,
  options: RegisterBarOptions,
): void => {
  const registers = registersOf(options);
  fn.registerBar(bar, registers, { type: 'memory', bits64: true, prefetch: true });
  openAccessWindow(fn, addRegisterPointers(fn, bar), { bar, registers });
};

const registersOf = ({ transport, config }: RegisterBarOptions): MemoryRegion => {
  const container = MemoryRegion.container('virtio registers', REGISTERS_SIZE);
  const add = (name: string, offset: number, ops: MmioOps): void => {
    const part = MemoryRegion.mmio(name, BigInt(PART_SIZE), ops, { impl: { min: 1, max: 4 } });
    container.add(part, BigInt(offset));
  };
  const ignore = (): void => undefined;
  add('virtio-common', PART.COMMON, {
    read: (offset) => transport.read(offset),
    write: (offset, _size, value) => transport.write(offset, value),
  });
  // Nothing ever interrupts, and there is no queue to notify.
  add('virtio-isr', PART.ISR, { read: () => 0n, write: ignore });
  add('virtio-device', PART.DEVICE, { read: readOnly(config), write: ignore });
  add('virtio-notify', PART.NOTIFY, { read: () => 0n, write: ignore });
  return container;
};

/** Bytes that software reads; behind their end, as QEMU: all ones. */
const readOnly =
  (config: () => Uint8Array): MmioOps['read'] =>
  (offset, size) => {
    const padded = new Uint8Array(size).fill(0xff);
    padded.set(config().subarray(offset, offset + size));
    return intFromBytes(padded);
  };
