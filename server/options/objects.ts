import { parseCInteger, parseSize } from '../../devices/core/property.js';
import { isJsonObject, type JsonObject, type JsonValue } from '../../schema/json.js';
import type { Members, Type } from '../../schema/lang.js';
import { ObjectOptions } from '../../schema/memory.js';
import type { GlobalSetting } from '../machine/machine.js';
import type { Written } from '../config.js';
import { JsonStream } from '../framing/stream.js';
import { isIdentifier } from '../machine/identifier.js';
import { CommandLineError, parseKeyval, parseOpts, readBool } from './keyval.js';

/** `-object`, `-device` and `-global`. */

/** Reads one JSON value in QMP's dialect. @throws CommandLineError */
export const readJson = (origin: string, text: string, wanted = 'one value'): JsonValue => {
  const stream = new JsonStream();
  // The null shows whether something was left open, and is the only thing that may follow.
  stream.push(Buffer.from(`${text} null `));
  const item = stream.next();
  if (item === undefined) throw new CommandLineError(origin, 'JSON parse error, premature EOI');
  if (item.kind === 'error') throw new CommandLineError(origin, item.desc);
  const after = stream.next();
  if (after?.kind !== 'value' || after.value !== null)
    throw new CommandLineError(origin, `JSON parse error, ${wanted} was expected`);
  return item.value;
};
/** @throws CommandLineError */
const parseJson = (origin: string, text: string): JsonObject => {
  const wanted = 'one object';
  const value = readJson(origin, text, wanted);
  if (!isJsonObject(value))
    throw new CommandLineError(origin, `JSON parse error, ${wanted} was expected`);
  return value;
};

/** The JSON value that text stands for. @throws CommandLineError with the words of QEMU */
const fromText = (
  origin: string,
  type: Type,
  value: string,
  name: string,
  sizeWords: string,
): JsonValue => {
  if (type.kind === 'bool') return readBool(origin, name, value);
  if (type.kind !== 'int') return value;
  const isSize = type.width === 'size';
  const read = isSize ? parseSize(value) : parseCInteger(value);
  if (read !== undefined) return read;
  const expected = isSize ? sizeWords : 'integer';
  throw new CommandLineError(origin, `Parameter '${name}' expects ${expected}`);
};

const memberType = (members: Members, name: string): Type | undefined => {
  const member = members[name];
  return member?.kind === 'opt' ? member.type : member;
};

/** key=value text as the arguments of `object-add`; lists are written `key.0=A,key.1=B`. */
const objectFromText = (origin: string, text: string, sizeWords: string): JsonObject => {
  const pairs = parseKeyval(origin, text, 'qom-type');
  const type = pairs.findLast(([key]) => key === 'qom-type')?.[1] ?? '';
  const branches: Readonly<Record<string, { members: Members }>> = ObjectOptions.branches;
  const members: Members = { ...ObjectOptions.base, ...branches[type]?.members };
  const object = Object.create(null) as JsonObject;
  for (const [key, value] of pairs) {
    const [name = '', index, ...more] = key.split('.');
    const of = memberType(members, name);
    if (index === undefined) {
      object[key] = of === undefined ? value : fromText(origin, of, value, key, sizeWords);
      continue;
    }
    if (of?.kind !== 'array' || more.length > 0)
      throw new CommandLineError(origin, `Invalid parameter '${key}'`);
    const list = Array.isArray(object[name]) ? object[name] : [];
    if (index !== String(list.length))
      throw new CommandLineError(origin, `Parameter '${name}.${String(list.length)}' missing`);
    list.push(fromText(origin, of.item, value, key, sizeWords));
    object[name] = list;
  }
  return object;
};

/** Arguments of `object-add`, whatever form they were written in. @throws CommandLineError */
export const readObject = (origin: string, text: string): Written => {
  const values = readObjectArguments(origin, text, 'a size value');
  if (!text.startsWith('{') && hasBadId(values))
    throw new CommandLineError(origin, "Parameter 'id' expects an identifier");
  return { origin, form: 'json', values };
};
/**
 * The same without a look at the id.
 *
 * @param sizeWords what QEMU calls a size there
 * @throws CommandLineError
 */
export const readObjectArguments = (origin: string, text: string, sizeWords: string): JsonObject =>
  text.startsWith('{') ? parseJson(origin, text) : objectFromText(origin, text, sizeWords);

export const hasBadId = ({ id }: JsonObject): boolean =>
  typeof id === 'string' && !isIdentifier(id);

/**
 * A device as it was written. Text ids are checked here, as in QEMU: their form, and that none comes
 * twice among `ids`.
 *
 * @throws CommandLineError
 */
export const readDevice = (origin: string, text: string, ids: Set<string>): Written => {
  if (text.startsWith('{')) return { origin, form: 'json', values: parseJson(origin, text) };
  const values = parseOpts(text, 'driver');
  const id = values.findLast(([key]) => key === 'id')?.[1];
  if (id !== undefined) {
    if (!isIdentifier(id))
      throw new CommandLineError(origin, "Parameter 'id' expects an identifier");
    if (ids.has(id)) throw new CommandLineError(origin, `Duplicate ID '${id}' for device`);
    ids.add(id);
  }
  return { origin, form: 'text', values };
};

/** `driver.property=value`, or the three as parameters of those names. @throws CommandLineError */
export const readGlobal = (origin: string, text: string): GlobalSetting => {
  const short = /^([^.=,]+)\.([^=,]+)=(.*)$/s.exec(text);
  if (short !== null) {
    const [, driver = '', property = '', value = ''] = short;
    return { driver, property, value };
  }
  const given = new Map(parseOpts(text));
  const take = (key: string): string => {
    const value = given.get(key);
    if (value === undefined)
      throw new CommandLineError(origin, `'${text}' is not DRIVER.PROPERTY=VALUE`);
    return value;
  };
  return { driver: take('driver'), property: take('property'), value: take('value') };
};
