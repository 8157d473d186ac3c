import type { Test } from 'tap';
import { viewOf } from '../../devices/cxl/bytes.js';
import { soleOwnership, type CapacityOwnership } from '../../devices/cxl/capacity-ownership.js';
import { DEVICE_BLOCK } from '../../devices/cxl/device-registers.js';
import { MAILBOX, PAYLOAD_AT } from '../../devices/cxl/mailbox.js';
import { type3Properties, type Type3Properties } from '../../devices/cxl/type3-properties.js';
import { Type3 } from '../../devices/cxl/type3.js';
import type { HostMemoryService } from '../../devices/core/host-memory.js';
import { fakeContext } from './device-context.js';
import { fakeRoot } from './pci.js';
import { SparseBackend } from './sparse-memory.js';
import { FakeClock } from './test-board.js';

export const MiB = 1n << 20n;
/** MSI-X messages of vector n are seen in RAM at this address. */
const messageAt = (vector: number): bigint => 0x8000n + 4n * BigInt(vector);
const MESSAGE = 0x4d53n;

/** A range in MiB, as the vectors of reference/cxl.md §11 name it. */
export type Range = readonly [offset: number, len: number];

export interface Reply {
  readonly code: number;
  readonly output: Uint8Array;
}
export interface ShownRecord {
  readonly handle: number;
  readonly type: number;
  readonly more: number;
  readonly dpa: bigint;
  readonly len: bigint;
  readonly available: number;
  readonly tag: string;
  readonly hostId: number;
}

/** A type 3 device on a root bus, driven through its registers. */
export class Type3Bench {
  readonly device: Type3;
  readonly clock = new FakeClock();
  readonly root = fakeRoot();
  readonly emitted: { readonly event: string; readonly data: unknown }[] = [];

  constructor(
    properties: Partial<Type3Properties>,
    ownership: CapacityOwnership = soleOwnership,
    hostMemory?: HostMemoryService,
  ) {
    const defaults = Object.entries(type3Properties).map(([name, p]) => [name, p.default] as const);
    const all = { ...Object.fromEntries(defaults), ...properties } as Type3Properties;
    const context = fakeContext({
      id: 'd0',
      path: '/machine/peripheral/d0',
      typeName: 'cxl-type3',
      clock: this.clock,
      ...(hostMemory === undefined ? {} : { hostMemory }),
      emit: ({ name }: { name: string }, data: unknown) =>
        void this.emitted.push({ event: name, data }),
    });
    this.device = new Type3(context, all, { ownership: () => ownership });
    this.root.bus.attach(this.device.pci, 8, { hotplugged: false });
  }

  /** Realizes, resets, and lets the host in. */
  static started(
    t: Pick<Test, 'teardown'>,
    properties: Partial<Type3Properties>,
    ownership?: CapacityOwnership,
  ): Type3Bench {
    const bench = new Type3Bench(properties, ownership);
    bench.device.realize();
    t.teardown(() => bench.device.unrealize());
    bench.device.reset('cold');
    bench.device.pci.writeConfig(4, 2, 6);
    return bench;
  }
  /** Config A of reference/cxl.md §11: 512 MiB in two regions. */
  static configA(t: Pick<Test, 'teardown'>): Type3Bench {
    return Type3Bench.started(t, dynamicOnly(512n * MiB, 2));
  }
  /** Config B: 4 GiB in two regions. */
  static configB(t: Pick<Test, 'teardown'>): Type3Bench {
    return Type3Bench.started(t, dynamicOnly(4096n * MiB, 2));
  }

  get state() {
    return this.device.state;
  }
  get capacity() {
    const { manager } = this.state;
    if (manager === undefined) throw new Error('no dynamic capacity');
    return manager.capacity;
  }
  get manager() {
    const { manager } = this.state;
    if (manager === undefined) throw new Error('no dynamic capacity');
    return manager;
  }

  read(offset: number, size: 1 | 2 | 4 | 8): bigint {
    return this.device.pci.readBar(2, offset, size);
  }
  write(offset: number, size: 1 | 2 | 4 | 8, value: bigint): void {
    this.device.pci.writeBar(2, offset, size, value);
  }
  mailbox(register: keyof typeof MAILBOX): bigint {
    const { offset, size } = MAILBOX[register];
    return this.read(DEVICE_BLOCK.MAILBOX.offset + offset, size);
  }

  /** Runs one command by the doorbell. @param input bytes, or hexadecimal digits with spaces */
  run(opcode: number, input: Uint8Array | string = new Uint8Array(0)): Reply {
    const bytes = typeof input === 'string' ? hex(input) : input;
    const base = DEVICE_BLOCK.MAILBOX.offset;
    this.device.pci.writeBarBytes(2, base + PAYLOAD_AT, bytes);
    this.write(base + MAILBOX.COMMAND.offset, 8, BigInt(opcode) | (BigInt(bytes.length) << 16n));
    this.write(base + MAILBOX.CTRL.offset, 4, this.mailbox('CTRL') | 1n);
    const length = Number(this.mailbox('COMMAND') >> 16n);
    return {
      code: Number((this.mailbox('STATUS') >> 32n) & 0xffffn),
      output: this.device.pci.readBarBytes(2, base + PAYLOAD_AT, length),
    };
  }
  /** The output as hexadecimal digits; `code CODE` when it is no success. */
  text(opcode: number, input: Uint8Array | string = ''): string {
    const { code, output } = this.run(opcode, input);
    return code === 0 ? Buffer.from(output).toString('hex') : `code ${code.toString(16)}`;
  }

  /** Answers with ranges in MiB. */
  respond(...ranges: readonly Range[]): number {
    return this.run(0x4802, response(ranges)).code;
  }
  release(...ranges: readonly Range[]): number {
    return this.run(0x4803, response(ranges)).code;
  }
  /** Prescriptive add over QMP of ranges in MiB. */
  add(...ranges: readonly Range[]): void {
    this.addTo(0, ...ranges);
  }
  addTo(region: number, ...ranges: readonly Range[]): void {
    const extents = ranges.map(([offset, len]) => extent(offset, len));
    this.manager.add({ hostId: 0, policy: 'prescriptive', region, extents });
  }

  /** Accepted extents as 4801h lists them, in MiB: start and end. */
  accepted(): [number, number][] {
    const { output } = this.run(0x4801, '00010000 00000000');
    const view = viewOf(output);
    return Array.from({ length: view.getUint32(0, true) }, (_, i) => {
      const start = view.getBigUint64(16 + 40 * i, true);
      const len = view.getBigUint64(24 + 40 * i, true);
      return [Number(start / MiB), Number((start + len) / MiB)];
    });
  }
  /** Extents available as 4800h tells. */
  available(): number {
    const { output } = this.run(0x4800, '00 00');
    return viewOf(output).getUint32(12, true);
  }
  /** Records of one log and the flags of the header. */
  records(log = 4): { readonly flags: number; readonly overflow: number; list: ShownRecord[] } {
    const { output } = this.run(0x0100, Uint8Array.of(log));
    const view = viewOf(output);
    const list = Array.from({ length: view.getUint16(20, true) }, (_, i) => {
      const at = 32 + 128 * i;
      return {
        handle: view.getUint16(at + 20, true),
        type: view.getUint8(at + 48),
        more: view.getUint8(at + 53),
        hostId: view.getUint16(at + 50, true),
        dpa: view.getBigUint64(at + 56, true),
        len: view.getBigUint64(at + 64, true),
        tag: Buffer.from(output.subarray(at + 72, at + 88)).toString('hex'),
        available: view.getUint32(at + 120, true),
      };
    });
    return { flags: view.getUint8(0), overflow: view.getUint16(2, true), list };
  }
  clear(log: number, ...handles: readonly number[]): number {
    const input = new Uint8Array(6 + 2 * handles.length);
    input.set([log, 0, handles.length]);
    handles.forEach((handle, i) => viewOf(input).setUint16(6 + 2 * i, handle, true));
    return this.run(0x0101, input).code;
  }

  /** Switches MSI-X on; every vector writes to RAM. */
  enableMsix(): void {
    const { pci } = this.device;
    for (let vector = 0; vector < 8; vector++) {
      pci.writeBar(4, 16 * vector, 8, messageAt(vector));
      pci.writeBar(4, 16 * vector + 8, 8, MESSAGE);
    }
    pci.writeConfig(0x42, 2, 0x8000);
  }
  /** Vectors that sent a message since the last look. */
  messages(): number[] {
    const seen = [0, 1, 2, 3, 4, 5, 6, 7].filter(
      (vector) => this.root.ram.readInt(messageAt(vector), 4) === MESSAGE,
    );
    for (const vector of seen) this.root.ram.writeInt(messageAt(vector), 4, 0n);
    return seen;
  }
}

/** Only dynamic capacity. */
export const dynamicOnly = (size: bigint, regions: number): Partial<Type3Properties> => ({
  'num-dc-regions': regions,
  'volatile-dc-memdev': new SparseBackend('dc', size),
});
/** A range in MiB as QMP names it. */
export const extent = (offset: number, len: number): { offset: bigint; len: bigint } => ({
  offset: BigInt(offset) * MiB,
  len: BigInt(len) * MiB,
});
export const hex = (digits: string): Uint8Array =>
  Uint8Array.from(Buffer.from(digits.replaceAll(' ', ''), 'hex'));

/** Input of 4802h and 4803h. @param bytes ranges in bytes */
export const responseBytes = (
  ranges: readonly { readonly base: bigint; readonly len: bigint }[],
  more = false,
): Uint8Array => {
  const input = new Uint8Array(8 + 24 * ranges.length);
  const view = viewOf(input);
  view.setUint32(0, ranges.length, true);
  view.setUint8(4, more ? 1 : 0);
  ranges.forEach(({ base, len }, i) => {
    view.setBigUint64(8 + 24 * i, base, true);
    view.setBigUint64(16 + 24 * i, len, true);
  });
  return input;
};
export const response = (ranges: readonly Range[], more = false): Uint8Array =>
  responseBytes(
    ranges.map(([offset, len]) => ({ base: BigInt(offset) * MiB, len: BigInt(len) * MiB })),
    more,
  );

/** A prescriptive release request for ranges in MiB of region 0. */
export const releaseRequest = (ranges: readonly Range[], more = {}) => ({
  ...{ hostId: 0, policy: 'prescriptive' as const, forced: false, sanitize: false, region: 0 },
  extents: ranges.map(([offset, len]) => extent(offset, len)),
  ...more,
});
