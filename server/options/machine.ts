import { parseSize } from '../../devices/core/property.js';
import type { CxlConfig } from '../../devices/cxl/host.js';
import type { MachineKind } from '../../devices/platform/platform.js';
import { GuestPolicy as GuestPolicyType } from '../../schema/guest-policy.js';
import type { GuestPolicy } from '../machine/machine.js';
import { isWindowKey, readWindows, type GivenValue, type WindowKey } from './cxl.js';
import { CommandLineError, Parameters, parseKeyval, parseOpts, readBool } from './keyval.js';

/** `-machine` and `-m`. */

/** Properties of the machine that have an effect, as `-machine TYPE,help` tells them. */
export const MACHINE_PROPERTIES = {
  accel: { type: 'string', doc: "qtest: the qtest client moves the clock; others aren't used" },
  cxl: { type: 'bool', doc: 'CXL host bridges and windows' },
  'cxl-fmw': { type: 'CXLFixedMemoryWindowOptions', doc: 'CXL fixed memory windows (array)' },
  'guest-policy': { type: 'GuestPolicy', doc: 'how the built-in guest side answers requests' },
  'memory-backend': { type: 'link<memory-backend>', doc: 'id of the backend that is the RAM' },
  nvdimm: { type: 'bool', doc: 'memory modules may be nvdimm' },
  type: { type: 'string', doc: 'the machine itself' },
} as const satisfies Readonly<Record<string, { readonly type: string; readonly doc: string }>>;
type Property = keyof typeof MACHINE_PROPERTIES;
/** Those that `none` lacks. */
export const BOARD_PROPERTIES: readonly string[] = ['cxl', 'cxl-fmw'];
/** Keys of `-m`. */
export const MEMORY_KEYS = ['size', 'slots', 'maxmem'] as const;

/** On/off properties of a guest that we do not run; checked and not used. */
export const SWITCHES = [
  'acpi',
  'dump-guest-core',
  'graphics',
  'hmat',
  'hpet',
  'i8042',
  'mem-merge',
  'pcspk',
  'pit',
  'sata',
  'smbus',
  'suppress-vmdesc',
  'usb',
  'fd-bootchk',
];
/** Others of the same kind, of any value. */
export const UNUSED = [
  'append',
  'dt-compatible',
  'dumpdtb',
  'firmware',
  'initrd',
  'kernel',
  'kernel-irqchip',
  'kvm-shadow-mem',
  'max-ram-below-4g',
  'memory-encryption',
  'phandle-start',
  'pflash0',
  'pflash1',
  'pic',
  'smbios-entry-point-type',
  'smm',
  'vmport',
];
const MIB = 1n << 20n;

export interface MachineChoice {
  readonly kind: MachineKind;
  readonly guestPolicy: GuestPolicy;
  readonly ramBackend: string | undefined;
  /** `nvdimm=on`. */
  readonly nvdimm: boolean;
  /** `cxl=on`; undefined: no CXL. */
  readonly cxl: CxlConfig | undefined;
  /** Accelerators in the order of preference, `[]` when none was named. */
  readonly accelerators: readonly string[];
}

/** Kind and canonical name for every name a machine may be given by. */
export const machineKind = (name: string): { kind: MachineKind; canonical: string } | undefined => {
  if (name === 'none') return { kind: 'none', canonical: 'none' };
  if (name === 'pc' || /^pc-i440fx-\d+\.\d+$/.test(name))
    return { kind: 'pc', canonical: 'pc-i440fx-10.2' };
  if (name === 'q35' || /^pc-q35-\d+\.\d+$/.test(name))
    return { kind: 'q35', canonical: 'pc-q35-10.2' };
  return undefined;
};

/** Merges every `-machine` in order: of a property given twice the last value counts. */
export class MachineOption {
  readonly #values = new Map<string, { origin: string; value: string }>();

  /** @throws CommandLineError when the text is malformed */
  add(origin: string, text: string): void {
    for (const [key, value] of parseKeyval(origin, text, 'type'))
      this.#values.set(key, { origin, value });
  }

  /** @throws CommandLineError when the type or a property is unknown, or a value is bad */
  read(): MachineChoice {
    const given = this.#take('type');
    const machine = machineKind(given?.value ?? 'pc');
    if (machine === undefined)
      throw new CommandLineError(
        given?.origin ?? '',
        `unsupported machine type '${given?.value ?? ''}': none, pc, q35, pc-i440fx-VERSION and pc-q35-VERSION are known`,
      );
    const choice = {
      kind: machine.kind,
      guestPolicy: this.#policy(),
      ramBackend: this.#take('memory-backend')?.value,
      nvdimm: this.#switch('nvdimm'),
      cxl: machine.kind === 'none' ? undefined : this.#cxl(),
      accelerators: this.#take('accel')?.value.split(':') ?? [],
    };
    this.#checkRest(`${machine.canonical}-machine`);
    return choice;
  }

  /** Windows are checked also when nobody needs them. */
  #cxl(): CxlConfig | undefined {
    const given = new Map<string, GivenValue>();
    for (const key of [...this.#values.keys()].filter(isWindowKey)) {
      const found = this.#take(key);
      if (found !== undefined) given.set(key, found);
    }
    const windows = readWindows(given);
    return this.#switch('cxl') ? { windows } : undefined;
  }
  #switch(key: Property): boolean {
    const given = this.#take(key);
    return given !== undefined && readBool(given.origin, key, given.value);
  }
  #policy(): GuestPolicy {
    const given = this.#take('guest-policy');
    if (given === undefined) return 'manual';
    const policy = GuestPolicyType.values.find((known) => known === given.value);
    if (policy !== undefined) return policy;
    throw new CommandLineError(
      given.origin,
      `Parameter 'guest-policy' does not accept value '${given.value}'`,
    );
  }

  #checkRest(typeName: string): void {
    for (const [key, { origin, value }] of this.#values) {
      if (SWITCHES.includes(key)) readBool(origin, key, value);
      else if (!UNUSED.includes(key))
        throw new CommandLineError(origin, `Property '${typeName}.${key}' not found`);
    }
  }

  #take(key: Property | WindowKey): { origin: string; value: string } | undefined {
    const found = this.#values.get(key);
    this.#values.delete(key);
    return found;
  }
}

/** `text` as a size, MiB without a suffix. @throws CommandLineError */
const readSize = (origin: string, key: string, text: string, shift: bigint): bigint => {
  const plainFraction = /^[0-9]+\.[0-9]+$/.test(text);
  const size = plainFraction ? undefined : parseSize(text, shift);
  if (size !== undefined) return size;
  throw new CommandLineError(
    origin,
    `Parameter '${key}' expects a non-negative number below 2^64, not '${text}'`,
  );
};

/** What `-m` says, in bytes. */
export interface MemoryChoice {
  /** What errors call it. */
  readonly origin: string;
  readonly ramSize: bigint;
  readonly slots: number;
  /** Equal to `ramSize` without `maxmem`. */
  readonly maxSize: bigint;
}

/** `-m`: memory and room for more; size 0 is the default of 128 MiB. @throws CommandLineError */
export const readMemory = (origin: string, text: string): MemoryChoice => {
  const given = new Parameters(origin, parseOpts(text, 'size'));
  const [sizeText, slots, maxmem] = MEMORY_KEYS.map((key) => given.take(key));
  const size = readSize(origin, 'size', sizeText ?? '0', 20n);
  const ramSize = size === 0n ? 128n * MIB : (size + 8191n) & ~8191n;
  if (slots !== undefined && !/^[0-9]{1,9}$/.test(slots))
    throw new CommandLineError(origin, `Parameter 'slots' expects a number, not '${slots}'`);
  const limit = maxmem === undefined ? undefined : readSize(origin, 'maxmem', maxmem, 0n);
  given.end();
  checkRoom(origin, { ramSize, slots, limit });
  return { origin, ramSize, slots: Number(slots ?? 0), maxSize: limit ?? ramSize };
};

/** @throws CommandLineError in QEMU's words */
const checkRoom = (
  origin: string,
  {
    ramSize,
    slots,
    limit,
  }: { ramSize: bigint; slots: string | undefined; limit: bigint | undefined },
): void => {
  const fail = (problem: string): Error => new CommandLineError(origin, problem);
  if (limit === undefined) {
    if (slots !== undefined) throw fail('slots specified but no max-size');
    return;
  }
  const max = `maximum memory size (0x${limit.toString(16)})`;
  const initial = `the initial memory size (0x${ramSize.toString(16)})`;
  if (limit < ramSize) throw fail(`invalid value of maxmem: ${max} must be at least ${initial}`);
  if (limit === ramSize && Number(slots ?? 0) > 0)
    throw fail(
      `invalid value of maxmem: memory slots were specified but ${max} is equal to ${initial}`,
    );
};

/** What ACPI has room for. */
const MAX_SLOTS = 256;
const PAGE = 4096n;

/** What a board with memory slots demands of them. @throws CommandLineError in QEMU's words */
export const checkSlots = ({ origin, slots, maxSize, ramSize }: MemoryChoice): void => {
  if (maxSize === ramSize) return;
  if (slots > MAX_SLOTS)
    throw new CommandLineError(origin, `unsupported amount of memory slots: ${String(slots)}`);
  if (maxSize % PAGE !== 0n)
    throw new CommandLineError(
      origin,
      `maximum memory size must by aligned to multiple of ${String(PAGE)} bytes`,
    );
};
