import fc from 'fast-check';
import type { ResetType } from '../../devices/core/device.js';
import type { AccessSize } from '../../devices/core/host-memory.js';
import { COMMAND as MDEVICE_COMMAND, ring } from '../../devices/dynamic-mdevice/registers.js';
import type { Json } from '../side-by-side/client.js';
import { DUT } from './every-device.js';

export interface Place {
  readonly offset: number;
  /** A read without one. */
  readonly value?: number;
}

/** What software, time or management does to the device; places are taken modulo what there is. */
export type Operation =
  | {
      readonly kind: 'config';
      readonly offset: number;
      readonly size: 1 | 2 | 4;
      readonly value?: number;
    }
  | {
      readonly kind: 'bar';
      readonly bar: number;
      readonly offset: number;
      readonly size: AccessSize;
      readonly value?: bigint;
    }
  | { readonly kind: 'messages'; readonly control: number }
  | { readonly kind: 'doe'; readonly dwords: readonly number[]; readonly reads: number }
  | { readonly kind: 'mailbox'; readonly opcode: number; readonly payload: Uint8Array }
  | ({ readonly kind: 'port' } & Place)
  | ({ readonly kind: 'memory' } & Place)
  | { readonly kind: 'ring'; readonly register: number; readonly vector: number }
  | { readonly kind: 'reset'; readonly type: ResetType }
  | { readonly kind: 'advance'; readonly ns: bigint }
  | { readonly kind: 'command'; readonly name: string; readonly values: Record<string, Json> };

/** RAM where messages and DMA of the tests go. */
export const LANDING = { base: 0x20_0000n, size: 0x4000 } as const;
const MiB = 1n << 20n;
const MS = 1_000_000n;
/** Static capacity in front of the dynamic one, as the recipes have it. */
const STATIC: Readonly<Record<string, bigint>> = { 'cxl-type3': 512n * MiB, 'cxl-mhsld': 0n };

const value32 = fc.oneof(fc.nat(0xff), fc.integer({ min: 0, max: 0xffff_ffff }));
const value64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 8n }),
  fc.constantFrom(LANDING.base, 0x40000n, 0x40ffcn, 4096n, 0x80n),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);
const config = fc.record(
  {
    kind: fc.constant('config' as const),
    offset: fc.oneof(fc.nat(0x3f), fc.nat(0xff), fc.nat(0xfff)),
    size: fc.constantFrom<1 | 2 | 4>(1, 2, 4, 4),
    value: value32,
  },
  { requiredKeys: ['kind', 'offset', 'size'] },
);
const bar = fc.record(
  {
    kind: fc.constant('bar' as const),
    bar: fc.nat(5),
    offset: fc.oneof(fc.nat(0x40), fc.nat(0xa0), fc.nat(0x200), fc.nat(0x2fff)),
    size: fc.constantFrom<AccessSize>(1, 2, 4, 4, 4, 8),
    value: value64,
  },
  { requiredKeys: ['kind', 'bar', 'offset', 'size'] },
);
const messages = fc.record({
  kind: fc.constant('messages' as const),
  control: fc.constantFrom(0, 1, 1, 3, 3),
});
const reset = fc.record({
  kind: fc.constant('reset' as const),
  type: fc.constantFrom<ResetType>('warm', 'cold'),
});
const advance = fc.record({
  kind: fc.constant('advance' as const),
  ns: fc.oneof(
    fc.bigInt({ min: 1n, max: 50n * MS }),
    fc.constantFrom(100n * MS, 1000n * MS, 7_500n * MS),
  ),
});
const doe = fc.record({
  kind: fc.constant('doe' as const),
  dwords: fc.oneof(
    fc.constantFrom([1, 3, 0], [1, 3, 1], [0x21e98, 3, 0], [0x21e98, 3, 0x10000], [1, 4, 0]),
    fc.array(value32, { maxLength: 4 }),
  ),
  reads: fc.nat(6),
});

const write = (offset: number, value: bigint, size: AccessSize = 4): Operation => ({
  ...{ kind: 'bar', bar: 0, offset, size, value },
});
const eduTransfer: fc.Arbitrary<Operation[]> = fc
  .tuple(fc.boolean(), fc.nat(0x800), fc.nat(0x400), fc.boolean())
  .map(([out, at, count, interrupt]) => [
    write(0x80, out ? 0x40000n : LANDING.base + BigInt(at), 8),
    write(0x88, out ? LANDING.base + BigInt(at) : 0x40000n, 8),
    write(0x90, BigInt(count), 8),
    write(0x98, 1n | (out ? 2n : 0n) | (interrupt ? 4n : 0n), 8),
  ]);
const mdeviceCommand: fc.Arbitrary<Operation[]> = fc
  .tuple(fc.constantFrom(...Object.values(MDEVICE_COMMAND)), fc.nat(3), fc.nat(6))
  .map(([command, pages, offset]) => [
    write(0x18, BigInt(pages) * 4096n, 8),
    write(0x20, BigInt(offset) * 4096n, 8),
    write(0x08, ring(command)),
  ]);

const OPCODES = [
  ...[0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0100, 0x0101, 0x0102, 0x0103, 0x0200, 0x0201],
  ...[0x0202, 0x0300, 0x0301, 0x0400, 0x0401, 0x0500, 0x0501, 0x0502, 0x4000, 0x4100, 0x4102],
  ...[0x4103, 0x4200, 0x4201, 0x4202, 0x4300, 0x4301, 0x4302, 0x4303, 0x4304, 0x4305, 0x4400],
  ...[0x4402, 0x4800, 0x4801, 0x4802, 0x4803, 0x5100, 0x5101, 0x5300],
];
const mail = (opcode: number, payload: Uint8Array): Operation => ({
  kind: 'mailbox',
  opcode,
  payload,
});
const quads = (...values: readonly bigint[]): Uint8Array =>
  new Uint8Array(BigUint64Array.from(values).buffer);
const randomMail: fc.Arbitrary<Operation[]> = fc
  .tuple(fc.constantFrom(...OPCODES), fc.uint8Array({ maxLength: 24 }))
  .map(([opcode, payload]) => [mail(opcode, payload)]);
const usefulMail: fc.Arbitrary<Operation[]> = fc.oneof(
  fc.nat(4).map((log) => [mail(0x0100, Uint8Array.of(log))]),
  fc.nat(4).map((log) => [mail(0x0101, Uint8Array.of(log, 1, 0, 0, 0, 0))]),
  fc.constant<Operation[]>([mail(0x0103, Uint8Array.of(1, 1, 1, 1, 1))]),
  fc.bigInt({ min: 0n, max: 1n << 60n }).map((time) => [mail(0x0301, quads(time))]),
  fc.nat(4).map((action) => [
    mail(
      0x0201,
      Uint8Array.from({ length: 256 }, (_, i) => [action, 2][i] ?? 0),
    ),
  ]),
  fc
    .uint8Array({ minLength: 1, maxLength: 16 })
    .map((data) => [mail(0x4103, Uint8Array.of(64, 0, 0, 0, 0, 0, 0, 0, ...data))]),
  fc.nat(20).map((line) => [mail(0x4301, quads(BigInt(line) * 64n))]),
  fc
    .nat(20)
    .map((line) => [
      mail(0x4302, Uint8Array.of(...quads(BigInt(line) * 64n), ...new Uint8Array(64))),
    ]),
  fc.nat(40).map((lines) => [mail(0x4304, Uint8Array.of(...quads(0n, BigInt(lines)), 0))]),
  fc.constant<Operation[]>([mail(0x4400, new Uint8Array(0))]),
);
const command = (name: string, values: Record<string, Json>): Operation => ({
  ...{ kind: 'command', name, values: { path: DUT, ...values } },
});
const cxlCommand: fc.Arbitrary<Operation> = fc.oneof(
  fc
    .nat(20)
    .map((line) => command('cxl-inject-poison', { start: BigInt(line) * 64n, length: 64n })),
  fc
    .constantFrom('mem-data-ecc', 'crc-threshold', 'physical')
    .map((type) => command('cxl-inject-correctable-error', { type })),
  fc
    .constantFrom('internal', 'poison-received')
    .map((type) =>
      command('cxl-inject-uncorrectable-errors', { errors: [{ type, header: [1n, 2n] }] }),
    ),
);
/** Extents of 2 MiB blocks: offered, accepted, asked back, released. */
const capacity = (type: string) =>
  fc
    .tuple(fc.nat(3), fc.nat(9), fc.integer({ min: 1, max: 3 }), fc.boolean())
    .map(([step, at, blocks, tagged]): Operation[] => {
      const offset = BigInt(at) * 2n * MiB;
      const len = BigInt(blocks) * 2n * MiB;
      const common = { 'host-id': 0n, region: 0n, extents: [{ offset, len }] };
      const tag = tagged ? { tag: '01234567-89ab-cdef-0123-456789abcde0' } : {};
      const base = offset + (STATIC[type] ?? 0n);
      const answer = quads(1n, base, len, 0n);
      if (step === 0)
        return [
          command('cxl-add-dynamic-capacity', {
            ...{ ...common, ...tag, 'selection-policy': 'prescriptive' },
          }),
        ];
      if (step === 1) return [mail(0x4802, answer)];
      if (step === 2) return [mail(0x4803, answer)];
      return [
        command('cxl-release-dynamic-capacity', {
          ...{ ...common, 'removal-policy': 'prescriptive', 'forced-removal': tagged },
        }),
      ];
    });

/** A byte of a serial port, or a dword of guest memory that is the device's. */
const place = (kind: 'port' | 'memory'): fc.Arbitrary<Operation[]> =>
  fc
    .record(
      {
        kind: fc.constant(kind),
        offset: kind === 'port' ? fc.nat(7) : fc.nat(0x1_0000),
        value: kind === 'port' ? fc.nat(0xff) : value32,
      },
      { requiredKeys: ['kind', 'offset'] },
    )
    .map((one): Operation[] => [one as Operation]);
const resizing: fc.Arbitrary<Operation[]> = fc
  .tuple(fc.boolean(), fc.nat(6))
  .map(([ask, blocks]) => {
    const size = BigInt(blocks) * 16n * MiB;
    const values = { id: DUT, size };
    if (!ask) return [{ kind: 'command', name: 'guest-memory-resize', values }];
    const property = { path: DUT, property: 'requested-size', value: size };
    return [{ kind: 'command', name: 'qom-set', values: property }];
  });
const ringing = (register: number): fc.Arbitrary<Operation[]> =>
  fc.nat(2).map((vector) => [{ kind: 'ring', register, vector }]);

/** What one kind of device is good for, besides what all are. */
const special = (type: string): fc.Arbitrary<Operation[]>[] => {
  if (type === 'edu') return [eduTransfer];
  if (type === 'dynamic-mdevice') return [mdeviceCommand];
  if (type === 'isa-serial') return [place('port')];
  if (type === 'pc-dimm' || type === 'nvdimm') return [place('memory')];
  if (type === 'virtio-mem-pci') return [place('memory'), resizing];
  if (type === 'ivshmem-doorbell') return [ringing(0x0c)];
  if (type === 'shm-pci') return [ringing(0x1c)];
  if (type === 'cxl-switch-mailbox-cci') return [randomMail];
  if (type !== 'cxl-type3' && type !== 'cxl-mhsld') return [];
  const commands = cxlCommand.map((one) => [one]);
  return [randomMail, usefulMail, capacity(type), commands, place('memory')];
};

/** Some time in the life of a device of the type. */
export const operationsOf = (type: string, most: number): fc.Arbitrary<readonly Operation[]> => {
  const general: fc.Arbitrary<Operation[]> = fc
    .oneof(
      { arbitrary: config, weight: 3 },
      { arbitrary: bar, weight: 5 },
      { arbitrary: messages, weight: 2 },
      { arbitrary: advance, weight: 2 },
      { arbitrary: doe, weight: 1 },
      { arbitrary: reset, weight: 1 },
    )
    .map((one): Operation[] => [one as Operation]);
  const kinds = special(type).map((arbitrary) => ({ arbitrary, weight: 2 }));
  return fc
    .array(fc.oneof({ arbitrary: general, weight: 3 }, ...kinds), { maxLength: most, size: 'max' })
    .map((phrases) => phrases.flat());
};
