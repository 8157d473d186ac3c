import { QmpError } from '../../schema/error.js';
import type { JsonValue } from '../../schema/json.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type * as qom from '../../schema/qom.js';
import type { ObjectPropertyValue } from '../../schema/qom.js';
import { findForList, findObject, type QomObject } from '../machine/qom.js';
import { allProperties, deviceProperties } from '../machine/type-properties.js';
import type { CommandContext } from './context.js';

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
