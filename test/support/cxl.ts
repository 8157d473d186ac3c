import type { CxlConfig } from '../../devices/cxl/host.js';
import { DEVICE_BLOCK } from '../../devices/cxl/device-registers.js';
import { HDM } from '../../devices/cxl/hdm-decoders.js';
import { interleaveWaysCode } from '../../devices/cxl/interleave.js';
import { PAYLOAD_AT } from '../../devices/cxl/mailbox.js';
import { cxlDownstream } from '../../devices/cxl-downstream/index.js';
import { cxlRootPort } from '../../devices/cxl-rp/index.js';
import { cxlType3 } from '../../devices/cxl-type3/index.js';
import { cxlUpstream } from '../../devices/cxl-upstream/index.js';
import { pxbCxl } from '../../devices/pxb-cxl/index.js';
import type { PciBus } from '../../devices/pci/bus.js';
import type { PciDevice, PciFunction } from '../../devices/pci/function.js';
import { SparseBackend } from './sparse-memory.js';
import { TestBoard } from './test-board.js';

/** With up to 2 GiB of RAM on q35: registers of host bridges, and the first window. */
export const HOST_REGISTERS = 0x1_0000_0000n;
export const WINDOW = 0x1_1000_0000n;
export const UNIT = 256n << 20n;
const HDM_AT = 0x1128;

/** What a decoder is programmed to. */
export interface DecoderSettings {
  readonly base: bigint;
  readonly size: bigint;
  /** 1 by default. */
  readonly ways?: number;
  /** Code of the granularity; 0 for 256 bytes. */
  readonly granularity?: number;
  /** Device: DPA skip. */
  readonly skip?: bigint;
  /** Switch or bridge: port numbers. */
  readonly targets?: readonly number[];
  /** True by default. */
  readonly commit?: boolean;
}

/** A write of 32 bits at an offset of the component registers. */
type Write = (offset: number, value: bigint) => void;

const LOW = 0xffff_ffffn;

/** Programs decoder `index` through its registers and commits it. */
export const program = (write: Write, index: number, settings: DecoderSettings): void => {
  const {
    base,
    size,
    ways = 1,
    granularity = 0,
    skip = 0n,
    targets = [],
    commit = true,
  } = settings;
  const at = HDM_AT + HDM.FIRST_DECODER + HDM.STRIDE * index;
  const list = targets.reduce((bits, port, i) => bits | (BigInt(port) << BigInt(8 * i)), skip);
  const halves: readonly (readonly [number, bigint])[] = [
    [HDM.BASE_LOW, base],
    [HDM.SIZE_LOW, size],
    [HDM.SKIP_LOW, list],
  ];
  for (const [register, value] of halves) {
    write(at + register, value & LOW);
    write(at + register + 4, value >> 32n);
  }
  const code = interleaveWaysCode(ways) ?? 0;
  write(at + HDM.CONTROL, BigInt(granularity | (code << 4) | (commit ? 0x200 : 0)));
};

/** Writes component registers in BAR 0 of a port or device. */
export const componentOf = ({ pci }: { readonly pci: PciFunction }): Write => {
  pci.config.set(4, 2, 6);
  return (offset, value) => pci.writeBar(0, offset, 4, value);
};

/** A q35 machine with CXL, built part by part. */
export class CxlBoard extends TestBoard {
  #chassisSlot = 0;

  constructor(windows: CxlConfig['windows']) {
    super('q35', { cxl: { windows } });
  }

  /** @returns the bus for root ports */
  hostBridge(id: string, number: number, properties: Record<string, unknown> = {}): PciBus {
    this.plug(this.create(pxbCxl, id, { bus_nr: number, ...properties }));
    const [bus] = this.platform.roots;
    if (bus === undefined) throw new Error('no root bus');
    return bus;
  }
  rootPort(bus: PciBus, id: string, port = 0, properties: Record<string, unknown> = {}): PciDevice {
    const slot = this.#chassisSlot++;
    return this.plug(this.create(cxlRootPort, id, { port, slot, ...properties }), { bus });
  }
  upstream(
    port: PciDevice,
    id: string,
    properties: Record<string, unknown> = {},
    multifunction = true,
  ): PciDevice {
    return this.plug(this.create(cxlUpstream, id, properties), {
      bus: busOf(port),
      multifunction,
    });
  }
  downstream(upstream: PciDevice, id: string, port: number): PciDevice {
    const slot = this.#chassisSlot++;
    return this.plug(this.create(cxlDownstream, id, { port, slot }), { bus: busOf(upstream) });
  }
  /** A memory device with volatile static memory and nothing else. */
  memory(port: PciDevice, id: string, size: bigint): { device: PciDevice; backend: SparseBackend } {
    const backend = new SparseBackend(`${id}-memory`, size);
    const device = this.create(cxlType3, id, { 'volatile-memdev': backend });
    return { device: this.plug(device, { bus: busOf(port) }), backend };
  }

  /** Every function with an id, root buses first. */
  everyFunction(): PciFunction[] {
    const below = (bus: PciBus): PciFunction[] =>
      bus.functions.flatMap((fn) => [fn, ...(fn.secondaryBus ? below(fn.secondaryBus) : [])]);
    return this.platform.roots.flatMap(below).filter(({ id }) => id !== undefined);
  }

  /** Writes component registers of a host bridge, by its place from the newest on. */
  bridgeRegisters(index: number): Write {
    const base = HOST_REGISTERS + 0x1_0000n * BigInt(index);
    return (offset, value) => this.platform.memory.write(base + BigInt(offset), 4, value);
  }
  bridgeRegister(index: number, offset: number): bigint {
    const base = HOST_REGISTERS + 0x1_0000n * BigInt(index);
    return this.platform.memory.read(base + BigInt(offset), 4);
  }
}

export const busOf = ({ secondaryBus }: PciDevice): PciBus => {
  if (secondaryBus === undefined) throw new Error('no bus behind this device');
  return secondaryBus;
};

/** Runs a command by the doorbell of a mailbox. @param input hexadecimal digits, with spaces */
export const runMailbox = (
  { pci }: { readonly pci: PciFunction },
  bar: number,
  opcode: number,
  input = '',
): { code: number; output: Buffer } => {
  pci.config.set(4, 2, 6);
  const base = DEVICE_BLOCK.MAILBOX.offset;
  const bytes = Buffer.from(input.replaceAll(' ', ''), 'hex');
  pci.writeBarBytes(bar, base + PAYLOAD_AT, bytes);
  pci.writeBar(bar, base + 8, 8, BigInt(opcode + bytes.length * 0x1_0000));
  pci.writeBar(bar, base + 4, 4, 1n);
  const length = Number(pci.readBar(bar, base + 8, 8) >> 16n);
  return {
    code: Number((pci.readBar(bar, base + 0x10, 8) >> 32n) & 0xffffn),
    output: Buffer.from(pci.readBarBytes(bar, base + PAYLOAD_AT, length)),
  };
};
