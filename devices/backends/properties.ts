import { QmpError, refused } from '../../schema/error.js';
import type { JsonValue } from '../../schema/json.js';
import * as lang from '../../schema/lang.js';
import { checkValue } from '../../schema/validate.js';
import { HostMemPolicy, OnOffAuto } from '../../schema/memory.js';
import type { BackendSettings } from './arguments.js';

const MAX_NODES = 128;
const LINK = 'link<thread-context>';

type SettingName = Exclude<keyof BackendSettings, 'id' | 'qom-type'>;
export interface BackendProperty {
  readonly name: SettingName;
  /** Type name as qom-list prints it. */
  readonly qomType: string;
  readonly type: lang.Type;
  /** Text of the refusal to change it after creation; undefined when it can change. */
  readonly fixed?: (typeName: string) => string;
}

const bool = lang.bool('');
const size = lang.int('size', '');
const value = (): string => 'cannot change property value';
const named =
  (name: string, end = '') =>
  (typeName: string) =>
    `cannot change property '${name}' of ${typeName}${end}`;

/** @see reference/pci-and-memory-devices.md §4.2 */
const COMMON: readonly BackendProperty[] = [
  { name: 'merge', qomType: 'bool', type: bool },
  { name: 'dump', qomType: 'bool', type: bool },
  { name: 'prealloc', qomType: 'bool', type: bool },
  { name: 'prealloc-threads', qomType: 'int', type: lang.int('uint32', '') },
  { name: 'prealloc-context', qomType: LINK, type: lang.str('') },
  {
    name: 'size',
    qomType: 'int',
    type: size,
    // As QEMU: a space at the end.
    fixed: (typeName) => `cannot change property size of ${typeName} `,
  },
  { name: 'host-nodes', qomType: 'int', type: lang.arr(lang.int('uint16', ''), '') },
  { name: 'policy', qomType: 'HostMemPolicy', type: HostMemPolicy },
  { name: 'share', qomType: 'bool', type: bool, fixed: value },
  { name: 'reserve', qomType: 'bool', type: bool, fixed: value },
  { name: 'x-use-canonical-path-for-ramblock-id', qomType: 'bool', type: bool },
];
const FILE: readonly BackendProperty[] = [
  { name: 'discard-data', qomType: 'bool', type: bool },
  { name: 'mem-path', qomType: 'string', type: lang.str(''), fixed: named('mem-path') },
  { name: 'align', qomType: 'int', type: size, fixed: named('align') },
  { name: 'offset', qomType: 'int', type: size, fixed: named('offset') },
  { name: 'pmem', qomType: 'bool', type: bool, fixed: named('pmem', '.') },
  { name: 'readonly', qomType: 'bool', type: bool, fixed: named('readonly', '.') },
  { name: 'rom', qomType: 'OnOffAuto', type: OnOffAuto, fixed: named('rom', '.') },
];
const MEMFD: readonly BackendProperty[] = [
  { name: 'hugetlb', qomType: 'bool', type: bool },
  { name: 'hugetlbsize', qomType: 'int', type: size, fixed: value },
  { name: 'seal', qomType: 'bool', type: bool },
];

/** Properties of a backend type, for lists and for reading and writing one of them. */
export const backendProperties = (typeName: string): readonly BackendProperty[] => {
  if (typeName === 'memory-backend-file') return [...COMMON, ...FILE];
  return typeName === 'memory-backend-memfd' ? [...COMMON, ...MEMFD] : COMMON;
};

/**
 * Checks one value as the property's setter does, before or after creation.
 *
 * @throws QmpError
 */
export const checkSetting = (typeName: string, name: string, setting: unknown): void => {
  if (name === 'size' && setting === 0n)
    throw refused(`property 'size' of ${typeName} doesn't take value '0'`);
  // Negative sizes arrive wrapped; QEMU goes on with them and aborts.
  if (name === 'size' && typeof setting === 'bigint' && setting >= 1n << 63n)
    throw refused(`Parameter 'size' expects uint64`);
  if (name === 'prealloc-threads' && setting === 0)
    throw refused(`property 'prealloc-threads' of ${typeName} doesn't take value '0'`);
  if (name === 'prealloc-context' && setting !== '')
    throw new QmpError('DeviceNotFound', `Device '${String(setting)}' not found`);
  if (name === 'hugetlbsize' && setting === 0n)
    throw refused(`Property '${typeName}.hugetlbsize' doesn't take value '0'`);
  if (name === 'host-nodes') {
    const bad = (setting as readonly number[]).find((node) => node >= MAX_NODES);
    if (bad !== undefined) throw refused(`Invalid host-nodes value: ${String(bad)}`);
  }
};

export const PREALLOC_WITHOUT_RESERVE = "'prealloc=on' and 'reserve=off' are incompatible";

/**
 * Reads a value for a property as `qom-set` does.
 *
 * @throws QmpError when the type is wrong, the value is not taken, or the property is fixed
 */
export const parseSetting = (
  property: BackendProperty,
  typeName: string,
  given: JsonValue,
): unknown => {
  const { name, fixed } = property;
  // As QEMU: setters of sizes refuse before they look at the value.
  if (fixed !== undefined && property.type === size) throw refused(fixed(typeName));
  const parsed: unknown = checkValue(property.type as lang.AnyType, given, name);
  if (fixed !== undefined) throw refused(fixed(typeName));
  checkSetting(typeName, name, parsed);
  return parsed;
};

/** A setting as JSON; numbers become integers. */
export const showSetting = (setting: BackendSettings[SettingName]): JsonValue => {
  if (typeof setting === 'number') return BigInt(setting);
  return typeof setting === 'object' ? setting.map(BigInt) : setting;
};
