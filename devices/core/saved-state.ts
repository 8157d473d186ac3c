import { refused } from '../../schema/error.js';
import type { StateValue } from './device.js';

/**
 * Turns a part of a saved state into what it stands for.
 *
 * @param place of the part, as in errors: `saved event logs[0].nextHandle`
 * @throws QmpError naming the place and the rule
 */
export type Reader<T> = (value: StateValue | undefined, place: string) => T;
type Read<R> = R extends Reader<infer T> ? T : never;

const mustBe = (place: string, rule: string): Error => refused(`${place} must be ${rule}`);

/** A number without fraction. */
export const integer =
  (most: number, least = 0): Reader<number> =>
  (value, place) => {
    const fits = typeof value === 'number' && Number.isSafeInteger(value);
    if (fits && value >= least && value <= most) return value;
    throw mustBe(place, `an integer from ${String(least)} to ${String(most)}`);
  };

/** A number with no other bits than these, 32 at most. */
export const bitsOf =
  (mask: number): Reader<number> =>
  (value, place) => {
    const word = integer(0xffff_ffff)(value, place);
    if ((word & ~mask) === 0) return word;
    throw mustBe(place, `without other bits than 0x${mask.toString(16)}`);
  };

/** A bigint from 0 on. */
export const unsigned =
  (bits = 64): Reader<bigint> =>
  (value, place) => {
    if (typeof value === 'bigint' && BigInt.asUintN(bits, value) === value) return value;
    throw mustBe(place, `an unsigned integer of ${String(bits)} bits`);
  };

export const flag: Reader<boolean> = (value, place) => {
  if (typeof value === 'boolean') return value;
  throw mustBe(place, 'true or false');
};

export const text =
  (pattern: RegExp): Reader<string> =>
  (value, place) => {
    if (typeof value === 'string' && pattern.test(value)) return value;
    throw mustBe(place, `a text like ${String(pattern)}`);
  };

/** A copy of so many bytes. */
export const bytes =
  (most: number, least = most): Reader<Uint8Array<ArrayBuffer>> =>
  (value, place) => {
    const fits = value instanceof Uint8Array && value.length <= most && value.length >= least;
    if (fits) return Uint8Array.from(value);
    const count = least === most ? String(most) : `${String(least)} to ${String(most)}`;
    throw mustBe(place, `${count} bytes`);
  };

export const list =
  <T>(item: Reader<T>, most: number, least = 0): Reader<T[]> =>
  (value, place) => {
    if (!Array.isArray(value) || value.length > most || value.length < least)
      throw mustBe(
        place,
        `a list of ${least === most ? '' : `${String(least)} to `}${String(most)}`,
      );
    return value.map((one, i) => item(one, `${place}[${String(i)}]`));
  };

/** A list with a reader for each of its items. */
export const each =
  <T>(readers: readonly Reader<T>[]): Reader<T[]> =>
  (value, place) => {
    const items = list(part, readers.length, readers.length)(value, place);
    return readers.map((reader, i) => reader(items[i], `${place}[${String(i)}]`));
  };

/** A map of exactly these fields. */
export const fields =
  <R extends Readonly<Record<string, Reader<unknown>>>>(
    readers: R,
  ): Reader<{ -readonly [K in keyof R]: Read<R[K]> }> =>
  (value, place) => {
    if (!isMap(value)) throw mustBe(place, 'a map');
    const unknown = Object.keys(value).find((name) => !Object.hasOwn(readers, name));
    if (unknown !== undefined) throw refused(`${place} has an unknown field '${unknown}'`);
    const read = Object.entries(readers).map(([name, reader]) => [
      name,
      reader(Object.hasOwn(value, name) ? value[name] : undefined, `${place}.${name}`),
    ]);
    return Object.fromEntries(read) as { -readonly [K in keyof R]: Read<R[K]> };
  };

/** What another part of the device reads itself. */
export const part: Reader<StateValue> = (value, place) => {
  if (value !== undefined) return value;
  throw refused(`${place} is missing`);
};
/** The same, of a part that is a map. */
export const map: Reader<{ [field: string]: StateValue }> = (value, place) => {
  if (isMap(value)) return value;
  throw mustBe(place, 'a map');
};

const isMap = (value: StateValue | undefined): value is { [field: string]: StateValue } =>
  typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array);
