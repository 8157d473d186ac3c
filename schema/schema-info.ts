import { any, arr, bool, enumeration, object, opt, str, union } from './lang.js';

/**
 * The shape of `query-qmp-schema`'s answer.
 *
 * @see reference/qmp-protocol.md §7
 */

const features = opt(arr(str('feature name'), 'names of features, in no particular order'));

export const SchemaMetaType = enumeration(
  'SchemaMetaType',
  ['builtin', 'enum', 'array', 'object', 'alternate', 'command', 'event'],
  'Kind of entity that a SchemaInfo describes.',
);
export const JSONType = enumeration(
  'JSONType',
  ['string', 'number', 'int', 'boolean', 'null', 'object', 'array', 'value'],
  'JSON kind of a built-in type; int is a number without fraction and exponent.',
);
export const SchemaInfoEnumMember = object('SchemaInfoEnumMember', {
  name: str('the value'),
  features,
});
export const SchemaInfoObjectMember = object('SchemaInfoObjectMember', {
  name: str('name of the member'),
  type: str('name of its type'),
  default: opt(any('present (null) when the member is optional')),
  features,
});
export const SchemaInfoObjectVariant = object('SchemaInfoObjectVariant', {
  case: str('value of the tag member'),
  type: str('name of the object type with the members of this variant'),
});
export const SchemaInfoAlternateMember = object('SchemaInfoAlternateMember', {
  type: str('name of the type of this alternative'),
});
export const SchemaInfo = union('SchemaInfo', {
  base: { name: str('name of the entity'), 'meta-type': SchemaMetaType, features },
  discriminator: 'meta-type',
  branches: {
    builtin: object('SchemaInfoBuiltin', { 'json-type': JSONType }),
    enum: object('SchemaInfoEnum', {
      members: arr(SchemaInfoEnumMember, 'the values'),
      values: arr(str('value'), 'the values without features', { features: ['deprecated'] }),
    }),
    array: object('SchemaInfoArray', { 'element-type': str('name of the element type') }),
    object: object('SchemaInfoObject', {
      members: arr(SchemaInfoObjectMember, 'members common to all variants'),
      tag: opt(str('name of the member that selects the variant')),
      variants: opt(arr(SchemaInfoObjectVariant, 'the variants')),
    }),
    alternate: object('SchemaInfoAlternate', {
      members: arr(SchemaInfoAlternateMember, 'the alternatives'),
    }),
    command: object('SchemaInfoCommand', {
      'arg-type': str('name of the object type of the arguments'),
      'ret-type': str('name of the type of the return value'),
      'allow-oob': opt(bool('whether the command may be run out of band'), false),
    }),
    event: object('SchemaInfoEvent', {
      'arg-type': str('name of the object type of the data'),
    }),
  },
});
