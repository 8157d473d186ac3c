import { backendProperties } from '../../devices/backends/properties.js';
import type { DeviceType } from '../../devices/core/device.js';
import type { Property } from '../../devices/core/property.js';
import { commonPciProperties } from '../../devices/pci/properties.js';
import { deviceNotFound, QmpError, refused } from '../../schema/error.js';
import type { JsonValue } from '../../schema/json.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type * as qom from '../../schema/qom.js';
import type { ObjectPropertyInfo, ObjectPropertyValue } from '../../schema/qom.js';
import { propertiesOf } from '../machine/device-properties.js';
import { findForList, findObject, type QomObject } from '../machine/qom.js';
import type { TypeRegistry } from '../machine/type-registry.js';
import type { CommandContext } from './context.js';

type PropertyInfo = Infer<typeof ObjectPropertyInfo>;

const describe = (name: string, property: Property): PropertyInfo => ({
  name,
  type: property.qomType,
  ...(property.doc === '' ? {} : { description: property.doc }),
  ...(property.showDefault ? { 'default-value': property.show(property.default) } : {}),
});
const ownProperties = (type: DeviceType): PropertyInfo[] =>
  Object.entries(propertiesOf(type)).map(([name, property]) => describe(name, property));

/** What every device has besides the properties of its type. */
const DEVICE_BASE: readonly PropertyInfo[] = [
  { name: 'type', type: 'string' },
  { name: 'parent_bus', type: 'link<bus>' },
  { name: 'realized', type: 'bool' },
  { name: 'hotplugged', type: 'bool' },
  { name: 'hotpluggable', type: 'bool' },
];

/** Parts of the board have nothing of their own that could be set. */
const boardProperties = (types: TypeRegistry, typename: string): PropertyInfo[] =>
  types.isA(typename, 'pci-device')
    ? Object.entries(commonPciProperties).map(([name, property]) => describe(name, property))
    : [];

const deviceProperties = (types: TypeRegistry, typename: string): PropertyInfo[] => {
  const type = types.device(typename);
  if (type !== undefined && type.abstract !== true) return ownProperties(type);
  if (!types.has(typename)) throw deviceNotFound(typename);
  if (types.isA(typename, 'device') && !types.isAbstract(typename))
    return boardProperties(types, typename);
  throw refused(`Parameter 'typename' expects a non-abstract device type`);
};

const withoutDefault = ({ 'default-value': _, ...info }: PropertyInfo): PropertyInfo => info;

const allProperties = (types: TypeRegistry, typename: string): PropertyInfo[] => {
  if (!types.has(typename)) throw new QmpError('DeviceNotFound', `Class '${typename}' not found`);
  const type = types.device(typename);
  // As QEMU: defaults are told by device-list-properties only.
  if (type !== undefined) return [...DEVICE_BASE, ...ownProperties(type).map(withoutDefault)];
  const base = types.isA(typename, 'device') ? DEVICE_BASE : DEVICE_BASE.slice(0, 1);
  const backend = types.isA(typename, 'memory-backend') ? backendProperties(typename) : [];
  const own = backend.map(({ name, qomType }) => ({ name, type: qomType }));
  return [...base, ...own, ...boardProperties(types, typename)];
};

/** Properties with their values, as far as they can be read. */
const valuesOf = (object: QomObject): Infer<typeof ObjectPropertyValue>[] =>
  object.list().map(({ name, type }) => {
    const value = tryGet(object, name);
    return value === undefined ? { name, type } : { name, type, value };
  });
const tryGet = (object: QomObject, name: string): JsonValue | undefined => {
  try {
    return object.get(name);
  } catch (error) {
    if (error instanceof QmpError) return undefined;
    throw error;
  }
};

export const qomHandlers = {
  'qom-list': ({ path }, { machine }) => findForList(machine.root, path).list(),
  'qom-list-get': ({ paths }, { machine }) =>
    paths.map((path) => ({ properties: valuesOf(findForList(machine.root, path)) })),
  'qom-get': ({ path, property }, { machine }) => findObject(machine.root, path).get(property),
  'qom-set': ({ path, property, value }, { machine }) => {
    findObject(machine.root, path).set(property, value as JsonValue);
  },
  'qom-list-types': ({ implements: ancestor, abstract = false }, { machine }) => {
    const { types } = machine.options;
    return types.names().flatMap((name) => {
      if (ancestor !== undefined && !types.isA(name, ancestor)) return [];
      const isAbstract = types.isAbstract(name);
      if (isAbstract && !abstract) return [];
      const parent = types.parentOf(name);
      return [
        {
          name,
          ...(isAbstract ? { abstract: true } : {}),
          ...(parent === undefined ? {} : { parent }),
        },
      ];
    });
  },
  'device-list-properties': ({ typename }, { machine }) =>
    deviceProperties(machine.options.types, typename),
  'qom-list-properties': ({ typename }, { machine }) =>
    allProperties(machine.options.types, typename),
} satisfies Handlers<typeof qom, CommandContext>;
