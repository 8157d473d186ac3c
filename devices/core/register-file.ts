import { refused } from '../../schema/error.js';
import type { DeviceState, StateValue } from './device.js';
import { fields, unsigned, type Reader } from './saved-state.js';

/** What a write from software does to a field: nothing, store, or clear where it writes 1. */
export type FieldAccess = 'RO' | 'RW' | 'RW1C';
export interface Field {
  /** Highest and lowest bit, both included. */
  readonly bits: readonly [number, number];
  readonly access: FieldAccess;
  readonly reset: bigint;
}
export interface Register {
  /** Bytes from the start of the block; a multiple of 4. */
  readonly offset: number;
  readonly size: 4 | 8;
  readonly fields: Readonly<Record<string, Field>>;
}
/** A block of registers, as a specification's table has it. */
export type RegisterMap = Readonly<Record<string, Register>>;

export const field = (bits: readonly [number, number], access: FieldAccess, reset = 0n): Field => ({
  bits,
  access,
  reset,
});

/** A register of one field that fills it. */
export const whole = (offset: number, size: 4 | 8, access: FieldAccess, reset = 0n): Register => ({
  offset,
  size,
  fields: { VALUE: field([size * 8 - 1, 0], access, reset) },
});

const DWORD = 0xffffffffn;

interface Cell {
  readonly name: string;
  readonly register: Register;
  readonly stored: bigint;
  readonly clearing: bigint;
  value: bigint;
}

const maskOf = ({ bits: [high, low] }: Field): bigint =>
  ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low);

const masksOf = ({ fields }: Register, access: FieldAccess): bigint =>
  Object.values(fields).reduce((mask, f) => (f.access === access ? mask | maskOf(f) : mask), 0n);

const resetOf = ({ fields }: Register): bigint =>
  Object.values(fields).reduce((value, f) => value | (f.reset << BigInt(f.bits[1])), 0n);

/**
 * Values of a block of registers: little-endian, in aligned accesses of 4 or 8 bytes. Half of a
 * 64-bit register may be written alone; an access of 8 bytes may cover two registers of 4. Bits
 * outside every field read 0.
 */
export class RegisterFile<M extends RegisterMap> {
  readonly #cells: ReadonlyMap<string, Cell>;
  readonly #byDword = new Map<number, Cell>();

  constructor(map: M) {
    const cells = Object.entries(map).map(([name, register]): [string, Cell] => [
      name,
      {
        name,
        register,
        stored: masksOf(register, 'RW'),
        clearing: masksOf(register, 'RW1C'),
        value: resetOf(register),
      },
    ]);
    this.#cells = new Map(cells);
    for (const cell of this.#cells.values())
      for (let at = 0; at < cell.register.size; at += 4)
        this.#byDword.set(cell.register.offset + at, cell);
  }

  /** Every register takes its reset value. */
  reset(): void {
    for (const cell of this.#cells.values()) cell.value = resetOf(cell.register);
  }

  /** Reads as software does; where no register is, 0. */
  read(offset: number, size: number): bigint {
    let value = 0n;
    for (let at = 0; at < size; at += 4) value |= this.#readDword(offset + at) << BigInt(8 * at);
    return value;
  }

  /**
   * Writes as software does.
   *
   * @returns the names of the registers written, lowest offset first
   */
  write(offset: number, size: number, value: bigint): readonly (keyof M & string)[] {
    const touched = new Set<string>();
    for (let at = 0; at < size; at += 4) {
      const cell = this.#byDword.get(offset + at);
      if (cell === undefined) continue;
      writeDword(cell, offset + at, (value >> BigInt(8 * at)) & DWORD);
      touched.add(cell.name);
    }
    return [...touched];
  }

  get(name: keyof M & string): bigint {
    return this.#cell(name).value;
  }

  /** Sets a register as the device does, whatever software may do. */
  set(name: keyof M & string, value: bigint): void {
    const cell = this.#cell(name);
    cell.value = BigInt.asUintN(cell.register.size * 8, value);
  }

  getField<N extends keyof M & string>(name: N, of: keyof M[N]['fields'] & string): bigint {
    const { register, value } = this.#cell(name);
    const found = register.fields[of];
    if (found === undefined) throw new RangeError(`no field ${name}.${of}`);
    return (value & maskOf(found)) >> BigInt(found.bits[1]);
  }

  setField<N extends keyof M & string>(
    name: N,
    of: keyof M[N]['fields'] & string,
    value: bigint,
  ): void {
    const cell = this.#cell(name);
    const found = cell.register.fields[of];
    if (found === undefined) throw new RangeError(`no field ${name}.${of}`);
    const mask = maskOf(found);
    cell.value = (cell.value & ~mask) | ((value << BigInt(found.bits[1])) & mask);
  }

  save(): DeviceState {
    return Object.fromEntries([...this.#cells].map(([name, { value }]) => [name, value]));
  }

  /**
   * Checks a saved state.
   *
   * @param place as in errors
   * @returns what applies it
   * @throws QmpError when it does not fit
   */
  prepareLoad(state: StateValue | undefined, place = 'saved registers'): () => void {
    const cells = [...this.#cells.values()];
    const readers = Object.fromEntries(cells.map((cell) => [cell.name, valueOf(cell)]));
    const saved = fields(readers)(state, place);
    const values = cells.map((cell): [Cell, bigint] => [cell, saved[cell.name] ?? 0n]);
    return () => {
      for (const [cell, value] of values) cell.value = value;
    };
  }

  #cell(name: string): Cell {
    const cell = this.#cells.get(name);
    if (cell === undefined) throw new RangeError(`no register ${name}`);
    return cell;
  }

  #readDword(offset: number): bigint {
    const cell = this.#byDword.get(offset);
    if (cell === undefined) return 0n;
    return (cell.value >> BigInt(8 * (offset - cell.register.offset))) & DWORD;
  }
}

/** A register has the bits of its fields and no others. */
const valueOf =
  ({ register }: Cell): Reader<bigint> =>
  (value, place) => {
    const read = unsigned(8 * register.size)(value, place);
    const mask = Object.values(register.fields).reduce((bits, one) => bits | maskOf(one), 0n);
    if ((read & ~mask) === 0n) return read;
    throw refused(`${place} has bits that the register does not have`);
  };

const writeDword = (cell: Cell, offset: number, value: bigint): void => {
  const shift = BigInt(8 * (offset - cell.register.offset));
  const stored = cell.stored & (DWORD << shift);
  const clearing = cell.clearing & (DWORD << shift);
  const written = value << shift;
  cell.value = (cell.value & ~stored & ~(clearing & written)) | (written & stored);
};
