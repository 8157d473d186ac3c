import { backendProperties } from '../../devices/backends/properties.js';
import type { DeviceType } from '../../devices/core/device.js';
import type { Property } from '../../devices/core/property.js';
import { commonPciProperties } from '../../devices/pci/properties.js';
import { deviceNotFound, QmpError, refused } from '../../schema/error.js';
import type { Infer } from '../../schema/lang.js';
import type { ObjectPropertyInfo } from '../../schema/qom.js';
import { propertiesOf } from './device-properties.js';
import type { TypeRegistry } from './type-registry.js';

/** What properties a type has. */

export type PropertyInfo = Infer<typeof ObjectPropertyInfo>;

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

/**
 * What `device-list-properties` answers.
 *
 * @throws QmpError when there is no such device type, or no devices of it
 */
export const deviceProperties = (types: TypeRegistry, typename: string): PropertyInfo[] => {
  const type = types.device(typename);
  if (type !== undefined && type.abstract !== true) return ownProperties(type);
  if (!types.has(typename)) throw deviceNotFound(typename);
  if (types.isA(typename, 'device') && !types.isAbstract(typename))
    return boardProperties(types, typename);
  throw refused(`Parameter 'typename' expects a non-abstract device type`);
};

const withoutDefault = ({ 'default-value': _, ...info }: PropertyInfo): PropertyInfo => info;

/** What `qom-list-properties` answers. @throws QmpError when there is no such type */
export const allProperties = (types: TypeRegistry, typename: string): PropertyInfo[] => {
  if (!types.has(typename)) throw new QmpError('DeviceNotFound', `Class '${typename}' not found`);
  const type = types.device(typename);
  // As QEMU: defaults are told by device-list-properties only.
  if (type !== undefined) return [...DEVICE_BASE, ...ownProperties(type).map(withoutDefault)];
  const base = types.isA(typename, 'device') ? DEVICE_BASE : DEVICE_BASE.slice(0, 1);
  const backend = types.isA(typename, 'memory-backend') ? backendProperties(typename) : [];
  const own = backend.map(({ name, qomType }) => ({ name, type: qomType }));
  return [...base, ...own, ...boardProperties(types, typename)];
};
