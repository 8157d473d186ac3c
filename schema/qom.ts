import { any, arr, bool, command, object, opt, str } from './lang.js';

/**
 * The object tree.
 *
 * @see reference/qmp-protocol.md §8.4, reference/pci-and-memory-devices.md §5
 */

const path = str('absolute path, or a partial path that matches one object');

export const ObjectPropertyInfo = object('ObjectPropertyInfo', {
  name: str('name of the property'),
  type: str('type: a QAPI type name, child<T> for a child, link<T> for a link'),
  description: opt(str('what it is for')),
  'default-value': opt(any('value when nobody sets it')),
});
export const ObjectTypeInfo = object('ObjectTypeInfo', {
  name: str('name of the type'),
  abstract: opt(bool('present, and true, when no object can have just this type'), false),
  parent: opt(str('name of the parent type')),
});

export const qomList = command('qom-list', {
  doc: 'List the properties of an object: values, links and children.',
  since: '0.1',
  allowPreconfig: true,
  args: { path },
  returns: arr(ObjectPropertyInfo, 'name and type of each property, `type` first'),
});
export const qomGet = command('qom-get', {
  doc: 'Read a property. Children and links read as the absolute path of their object.',
  since: '0.1',
  allowPreconfig: true,
  args: { path, property: str('name of the property') },
  returns: any('the value; its type depends on the property'),
});
export const qomSet = command('qom-set', {
  doc: 'Write a property.',
  since: '0.1',
  allowPreconfig: true,
  args: { path, property: str('name of the property'), value: any('the new value') },
});
export const qomListTypes = command('qom-list-types', {
  doc: 'List the object types of this server.',
  since: '0.1',
  allowPreconfig: true,
  args: {
    implements: opt(str('only types that are, or implement, this one')),
    abstract: opt(bool('whether to list abstract types too'), false),
  },
  returns: arr(ObjectTypeInfo, 'the types; none for an unknown interface'),
});
export const deviceListProperties = command('device-list-properties', {
  doc: 'List the properties of a device type that device_add takes.',
  since: '0.1',
  args: { typename: str('name of a device type') },
  returns: arr(ObjectPropertyInfo, 'the properties'),
});
export const qomListProperties = command('qom-list-properties', {
  doc: 'List all properties of an object type.',
  since: '0.1',
  allowPreconfig: true,
  args: { typename: str('name of an object type') },
  returns: arr(ObjectPropertyInfo, 'the properties'),
});

export const ObjectPropertyValue = object('ObjectPropertyValue', {
  name: str('name of the property'),
  type: str('type, as qom-list gives it'),
  value: opt(any('value; absent when it cannot be read')),
});
export const ObjectPropertiesValues = object('ObjectPropertiesValues', {
  properties: arr(ObjectPropertyValue, 'the properties of one object'),
});
export const qomListGet = command('qom-list-get', {
  doc: 'List the properties of several objects with their values; one bad path fails all.',
  since: '0.1',
  allowPreconfig: true,
  args: { paths: arr(str('absolute or partial path'), 'the objects') },
  returns: arr(ObjectPropertiesValues, 'the objects, in the order of the paths'),
});
