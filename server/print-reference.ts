import type { DeviceType } from '../devices/core/device.js';
import { userDeviceTypes } from '../devices/index.js';
import { subjects } from '../schema/index.js';
import { printReference, type DeviceTypeReference } from '../schema/reference.js';
import { LIMITS } from './limits.js';
import { propertiesOf } from './machine/device-properties.js';

const describe = (type: DeviceType): DeviceTypeReference => ({
  name: type.name,
  ...(type.aliases === undefined ? {} : { aliases: type.aliases }),
  ...(type.description === undefined ? {} : { description: type.description }),
  properties: Object.entries(propertiesOf(type)).map(([name, property]) => ({
    name,
    type: property.qomType,
    default: property.showDefault ? String(property.show(property.default)) : undefined,
    doc: property.doc,
  })),
});

/** The printed reference: commands, events, types, device types, limits (Markdown). */
export const reference = (): string =>
  printReference(subjects, {
    limits: Object.entries(LIMITS).map(([name, limit]) => ({
      name,
      default: limit.default,
      doc: limit.doc,
    })),
    deviceTypes: userDeviceTypes
      .filter(({ userCreatable }) => userCreatable !== false)
      .map(describe),
  });
