import { refused } from '../../schema/error.js';
import type { JsonValue } from '../../schema/json.js';
import * as lang from '../../schema/lang.js';
import { checkValue } from '../../schema/validate.js';

/**
 * A property of a device type: its QOM type name, default, and the two ways to set it, strict JSON
 * (QMP, JSON on the command line) and text (key=value on the command line).
 *
 * @see reference/pci-and-memory-devices.md §3.3
 */
export interface Property<T = unknown> {
  /** Type name as `qom-list` and `device-list-properties` print it. */
  readonly qomType: string;
  readonly doc: string;
  /** Value when nobody sets it; undefined when there is none. */
  readonly default: T | undefined;
  /** Type name that a link must point to; the machine resolves the text and hands over the object. */
  readonly link?: string;
  /**
   * Tells where the device sits or what of the host it takes: two devices that differ in it have the
   * same registers and memory, and can load each other's state. `board`: what others on the board
   * see of it; machines that migrate must agree.
   */
  readonly ofPlace?: true | 'board';
  /** Shown as `default-value`; false hides it (links, strings without default). */
  readonly showDefault: boolean;
  /** @throws QmpError with the texts of §3.3, strict column */
  parse(value: JsonValue, name: string, typeName: string): T;
  /** @throws QmpError with the texts of §3.3, text column */
  parseText(text: string, name: string, typeName: string): T;
  /** Value as `qom-get` answers it. */
  show(value: T): JsonValue;
}
// A property list maps wire names to properties of any value type.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Properties = Readonly<Record<string, Property<any>>>;
export type PropertyValues<P extends Properties> = {
  -readonly [K in keyof P]: P[K] extends Property<infer T>
    ? undefined extends P[K]['default']
      ? T | undefined
      : T
    : never;
};

/** Marks a property as one of the place of the device; see `Property.ofPlace`. */
export const ofPlace = <P extends Properties[string]>(property: P): P => ({
  ...property,
  ofPlace: true,
});
/** The same for one that the rest of the board sees. */
export const ofBoard = <P extends Properties[string]>(property: P): P => ({
  ...property,
  ofPlace: 'board',
});

type WithDefault<T> = Property<T> & { readonly default: T };

/** Reads a C integer: decimal, 0x hex, leading-0 octal, optional sign. Undefined when it is none. */
export const parseCInteger = (text: string): bigint | undefined => {
  const match = /^([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text);
  if (match === null) return undefined;
  const digits = match[2] ?? '';
  const octal = /^0[0-7]+$/.test(digits);
  const magnitude = BigInt(octal ? `0o${digits.slice(1)}` : digits);
  return match[1] === '-' ? -magnitude : magnitude;
};

const SUFFIX: Readonly<Record<string, bigint>> = {
  B: 0n,
  K: 10n,
  M: 20n,
  G: 30n,
  T: 40n,
  P: 50n,
  E: 60n,
};

/** Reads a size: bytes, K/M/G/T/P/E (powers of 1024), fractions with a suffix, 0x without one. */
export const parseSize = (text: string, dfltShift = 0n): bigint | undefined => {
  if (/^0[xX][0-9a-fA-F]+$/.test(text)) return BigInt(text);
  const match = /^([0-9]+)(?:\.([0-9]{1,18}))?([BKMGTPEbkmgtpe]?)$/.exec(text);
  if (match === null) return undefined;
  const [, whole = '', fraction, suffix = ''] = match;
  const shift = suffix === '' ? dfltShift : (SUFFIX[suffix.toUpperCase()] ?? 0n);
  if (fraction !== undefined && shift === 0n) return undefined;
  const part =
    fraction === undefined ? 0n : (BigInt(fraction) << shift) / 10n ** BigInt(fraction.length);
  const value = (BigInt(whole) << shift) + part;
  return value < 1n << 64n ? value : undefined;
};

const integerFromText =
  (width: lang.IntWidth) =>
  (text: string, name: string): JsonValue => {
    const value = parseCInteger(text);
    if (value === undefined) throw refused(`Parameter '${name}' expects integer`);
    return checkValue(lang.int(width, ''), value, name) as JsonValue;
  };

const narrow = (
  width: lang.NarrowWidth,
  qomType: string,
  dflt: number,
  doc: string,
): WithDefault<number> => ({
  qomType,
  doc,
  default: dflt,
  showDefault: true,
  parse: (value, name) => checkValue(lang.int(width, ''), value, name),
  parseText: (text, name) => Number(integerFromText(width)(text, name)),
  show: (value) => BigInt(value),
});

export const uint8 = (dflt: number, doc: string) => narrow('uint8', 'uint8', dflt, doc);
export const uint16 = (dflt: number, doc: string) => narrow('uint16', 'uint16', dflt, doc);
export const uint32 = (dflt: number, doc: string) => narrow('uint32', 'uint32', dflt, doc);
export const int32 = (dflt: number, doc: string) => narrow('int32', 'int32', dflt, doc);

export const uint64 = (dflt: bigint, doc: string): WithDefault<bigint> => ({
  qomType: 'uint64',
  doc,
  default: dflt,
  showDefault: true,
  parse: (value, name) => checkValue(lang.int('uint64', ''), value, name),
  parseText: (text, name) => BigInt(integerFromText('uint64')(text, name) as bigint),
  show: (value) => value,
});

/** Bytes; text form takes suffixes. */
export const size = (dflt: bigint, doc: string): WithDefault<bigint> => ({
  qomType: 'size',
  doc,
  default: dflt,
  showDefault: true,
  parse: (value, name) => checkValue(lang.int('size', ''), value, name),
  parseText: (text, name) => {
    const value = parseSize(text);
    if (value === undefined) throw refused(`Parameter '${name}' expects a size value`);
    return value;
  },
  show: (value) => value,
});

/** A size that must fit 32 bits. */
export const size32 = (dflt: number, doc: string): WithDefault<number> => {
  const wide = size(BigInt(dflt), doc);
  const fit = (value: bigint, name: string, typeName: string): number => {
    if (value > 0xffffffffn)
      throw refused(
        `Property ${typeName}.${name} doesn't take value ${String(value)} (maximum: 4294967295)`,
      );
    return Number(value);
  };
  return {
    qomType: 'size',
    doc,
    default: dflt,
    showDefault: true,
    parse: (value, name, type) => fit(wide.parse(value, name, type), name, type),
    parseText: (text, name, type) => fit(wide.parseText(text, name, type), name, type),
    show: (value) => BigInt(value),
  };
};

export const bool = (dflt: boolean, doc: string): WithDefault<boolean> => ({
  qomType: 'bool',
  doc,
  default: dflt,
  showDefault: true,
  parse: (value, name) => checkValue(lang.bool(''), value, name),
  parseText: (text, name) => {
    if (['on', 'yes', 'true', 'y'].includes(text)) return true;
    if (['off', 'no', 'false', 'n'].includes(text)) return false;
    throw refused(`Parameter '${name}' expects 'on' or 'off'`);
  },
  show: (value) => value,
});

export const str = (doc: string): Property<string> => ({
  qomType: 'str',
  doc,
  default: undefined,
  showDefault: false,
  parse: (value, name) => checkValue(lang.str(''), value, name),
  parseText: (text) => text,
  show: (value) => value ?? '',
});

/** One of a fixed set of words; `qomType` names the QAPI enumeration. */
export const choice = <const V extends string>(
  qomType: string,
  values: readonly V[],
  dflt: V,
  doc: string,
): WithDefault<V> => {
  const type = lang.enumeration(qomType, values, doc);
  const parse = (value: JsonValue, name: string): V => checkValue(type, value, name);
  return {
    qomType,
    doc,
    default: dflt,
    showDefault: true,
    parse,
    parseText: parse,
    show: (value) => value,
  };
};
export const onOffAuto = (dflt: 'on' | 'off' | 'auto', doc: string) =>
  choice('OnOffAuto', ['auto', 'on', 'off'], dflt, doc);

/** A link to another object; the device receives the object itself (an interface `T`). */
export const link = <T>(target: string, doc: string): Property<T> => ({
  qomType: `link<${target}>`,
  doc,
  default: undefined,
  showDefault: false,
  link: target,
  // The machine replaces the text by the object before the device sees it.
  parse: (value, name) => checkValue(lang.str(''), value, name) as unknown as T,
  parseText: (text) => text as unknown as T,
  show: () => '',
});
