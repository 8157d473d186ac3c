import { dpa } from '../../devices/cxl/addresses.js';
import { DEVICE_BLOCK } from '../../devices/cxl/device-registers.js';
import { PAYLOAD_AT } from '../../devices/cxl/mailbox.js';
import { asCxlMemoryTarget } from '../../devices/cxl/memory-target.js';
import type { PciFunction } from '../../devices/pci/function.js';
import { CAPABILITY, CONFIG, EXTENDED_CAPABILITY } from '../../devices/pci/registers.js';
import { QmpError } from '../../schema/error.js';
import { DUT } from './every-device.js';
import type { TestMachine } from './machine.js';
import { LANDING, type Operation, type Place } from './state-operations.js';

const SERIAL_PORT = 0x3f8n;
/** Spreads 64 KiB of places over static and dynamic capacity. */
const CXL_STRIDE = 0x4000n;
/** Of the event loop, after which a ring was heard. */
const TURNS = 6;

/** Does it; what is seen of that. */
export const perform = async (own: TestMachine, operation: Operation): Promise<unknown> => {
  const { machine } = own;
  if (operation.kind === 'advance') {
    machine.clock.advance(machine.clock.now() + operation.ns);
    return undefined;
  }
  if (operation.kind === 'command') return outcome(own, operation);
  if (operation.kind === 'port') return accessPort(own, operation);
  if (operation.kind === 'memory') return accessMemory(own, operation);
  const { device, pci } = machine.devices.find(DUT);
  if (pci === undefined) {
    if (operation.kind === 'reset') device.reset(operation.type);
    return undefined;
  }
  const seen = accessFunction(pci.pci, operation);
  // Any write to a BAR may ring, and rings that are not heard one by one are heard as one.
  if (operation.kind === 'ring' || operation.kind === 'bar')
    for (let turn = 0; turn < TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
  return seen;
};

const accessPort = ({ machine }: TestMachine, { offset, value }: Place): unknown => {
  const { io } = machine.platform;
  const port = SERIAL_PORT + BigInt(offset);
  if (value === undefined) return io.read(port, 1);
  io.write(port, 1, BigInt(value));
  return undefined;
};
/** By the address of a memory module, or the device address of a CXL device. */
const accessMemory = ({ machine }: TestMachine, { offset, value }: Place): unknown => {
  const { device, memory } = machine.devices.find(DUT);
  const at = BigInt(offset - (offset % 4));
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value ?? 0, true);
  const target = asCxlMemoryTarget(device);
  if (target !== undefined) {
    const address = dpa(at * CXL_STRIDE);
    if (value !== undefined) return target.writeDpa(address, bytes);
    return target.readDpa(address, bytes) ?? Buffer.from(bytes).toString('hex');
  }
  const space = machine.platform.memory;
  const address = (memory?.memoryDevice.addr ?? 0n) + at;
  if (value === undefined) return space.read(address, 4);
  space.write(address, 4, BigInt(value));
  return undefined;
};

const outcome = async (
  own: TestMachine,
  { name, values }: Extract<Operation, { kind: 'command' }>,
): Promise<unknown> => {
  try {
    // Checked arguments are narrowed in their place.
    return await own.run(name, structuredClone(values));
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    return error.message;
  }
};

const accessFunction = (
  fn: PciFunction,
  operation: Exclude<Operation, { kind: 'advance' | 'command' | 'port' | 'memory' }>,
): unknown => {
  switch (operation.kind) {
    case 'config':
      return accessConfig(fn, operation);
    case 'bar':
      return accessBar(fn, operation);
    case 'ring':
      // The first client of its server has id 0.
      fn.writeBar(0, operation.register, 4, BigInt(operation.vector));
      return undefined;
    case 'messages':
      return useMessages(fn, operation.control);
    case 'doe':
      return exchange(fn, operation);
    case 'mailbox':
      return runCommand(fn, operation);
    case 'reset':
      fn.resetDevice(operation.type);
      return undefined;
  }
};

const accessConfig = (
  fn: PciFunction,
  { offset, size, value }: Extract<Operation, { kind: 'config' }>,
): unknown => {
  const at = (offset - (offset % size)) % fn.config.size;
  if (value === undefined) return fn.readConfig(at, size);
  fn.writeConfig(at, size, value % 2 ** (8 * size));
  return undefined;
};

const accessBar = (
  fn: PciFunction,
  { bar: place, offset, size, value }: Extract<Operation, { kind: 'bar' }>,
): unknown => {
  const found = fn.bars[place % Math.max(fn.bars.length, 1)];
  if (found === undefined) return undefined;
  const at = (offset - (offset % size)) % Number(found.size);
  if (value === undefined) return fn.readBar(found.index, at, size);
  fn.writeBar(found.index, at, size, BigInt.asUintN(8 * size, value));
  return undefined;
};

/** Memory, mastering and I/O on; messages by MSI or MSI-X into the landing, bit 1 masks them. */
const useMessages = (fn: PciFunction, control: number): unknown => {
  fn.writeConfig(CONFIG.COMMAND, 2, 7);
  const msi = fn.findCapability(CAPABILITY.MSI);
  if (msi !== undefined) {
    fn.writeConfig(msi + 4, 4, Number(LANDING.base));
    for (const at of [8, 12]) fn.writeConfig(msi + at, 4, at === 8 ? 0 : 0x4321);
    fn.writeConfig(msi + 2, 2, control & 1);
  }
  const msix = fn.findCapability(CAPABILITY.MSIX);
  if (msix === undefined) return undefined;
  const table = fn.readConfig(msix + 4, 4);
  for (let vector = 0; vector < 8; vector++) {
    const entry = (table & ~7) + 16 * vector;
    const dwords = [Number(LANDING.base) + 16 * vector, 0, 0x5500 + vector, control >> 1];
    for (const [i, dword] of dwords.entries())
      fn.writeBar(table & 7, entry + 4 * i, 4, BigInt(dword));
  }
  fn.writeConfig(msix + 2, 2, (control & 1) << 15);
  return undefined;
};

const exchange = (
  fn: PciFunction,
  { dwords, reads }: Extract<Operation, { kind: 'doe' }>,
): unknown => {
  const at = fn.config.findExtendedCapability(EXTENDED_CAPABILITY.DOE);
  if (at === undefined) return undefined;
  for (const dword of dwords) fn.writeConfig(at + 0x10, 4, dword);
  fn.writeConfig(at + 0x08, 4, 0x8000_0002);
  return Array.from({ length: reads }, () => {
    const dword = fn.readConfig(at + 0x14, 4);
    fn.writeConfig(at + 0x14, 4, 0);
    return dword;
  });
};

const runCommand = (
  fn: PciFunction,
  { opcode, payload }: Extract<Operation, { kind: 'mailbox' }>,
): unknown => {
  fn.writeConfig(CONFIG.COMMAND, 2, 7);
  const index = fn.bars.find(({ index: one }) => one === 2)?.index ?? 0;
  const base = DEVICE_BLOCK.MAILBOX.offset;
  fn.writeBarBytes(index, base + PAYLOAD_AT, payload);
  fn.writeBar(index, base + 8, 8, BigInt(opcode + payload.length * 0x1_0000));
  fn.writeBar(index, base + 4, 4, 5n);
  const length = Number(fn.readBar(index, base + 8, 8) >> 16n);
  return {
    status: fn.readBar(index, base + 0x10, 8),
    background: fn.readBar(index, base + 0x18, 8),
    output: Buffer.from(fn.readBarBytes(index, base + PAYLOAD_AT, length)).toString('hex'),
  };
};
