import { createRequire } from 'node:module';
import type * as AjvModule from 'ajv';
import type { Ajv, AnySchemaObject, ErrorObject, ValidateFunction } from 'ajv';
import { refused, type QmpError } from './error.js';
import { fits, isUnsigned, narrowed, RANGE, type NumericWidth } from './integer.js';
import type { JsonObject, JsonValue } from './json.js';
import { kindOf, kindOfType, SchemaWriter, type Kinds } from './json-schema.js';
import type { ArgsOf, CommandDef, Infer, Members, Type, UnionType } from './lang.js';

/**
 * JSON values -> typed values, with QAPI's order and texts of errors. The one place that knows ajv;
 * it is loaded when the first structure is checked, and each type is compiled on first use.
 *
 * @see reference/qmp-protocol.md §6.3, §6.4
 */

/** Where in the arguments an error is: `full` as `a.b[0].c`, `leaf` its last member or `null`. */
interface Place {
  readonly full: string;
  readonly leaf: string;
}

const wrongType = (place: Place, expected: string): QmpError =>
  refused(`Invalid parameter type for '${place.full}', expected: ${expected}`);

const numberError = (width: NumericWidth, value: unknown, place: Place): QmpError => {
  if (width === 'number') return wrongType(place, 'number');
  const unsigned = isUnsigned(width);
  const [min, end] = unsigned ? RANGE.uint64 : RANGE.int64;
  if (typeof value !== 'bigint' || value < min || value >= end)
    return unsigned
      ? refused(`Parameter '${place.full}' expects uint64`)
      : wrongType(place, 'integer');
  return refused(`Parameter '${place.leaf}' expects ${width}_t`);
};

/** `this` of ajv's keywords: the first pass only checks, the second also narrows. */
interface Pass {
  readonly narrow: boolean;
}
interface DataContext {
  readonly parentData: Record<string | number, unknown>;
  readonly parentDataProperty: string | number;
}

/** Checks an integer (or double) and, in the second pass, puts the narrowed value in its place. */
function qapiInt(
  this: Pass,
  width: NumericWidth,
  value: unknown,
  _schema: unknown,
  context?: DataContext,
): boolean {
  if (!fits(width, value)) return false;
  if (this.narrow && context !== undefined)
    context.parentData[context.parentDataProperty] = narrowed(width, value);
  return true;
}

const qapiKinds = ({ kinds }: Kinds, value: unknown): boolean => kinds.includes(kindOf(value));

/** The path of an error below `{value}`; `name` stands for the value itself, '' for arguments. */
const placeOf = (pointer: string, root: unknown, name: string, member?: string): Place => {
  const steps = pointer.split('/').slice(2).map(unescapeStep);
  if (member !== undefined) steps.push(member);
  let full = name;
  let leaf = name;
  let at = root;
  for (const step of steps) {
    const index = Array.isArray(at);
    leaf = index ? 'null' : step;
    full += index ? `[${step}]` : full === '' ? step : `.${step}`;
    at = (at as Record<string, unknown> | undefined)?.[step];
  }
  return { full, leaf };
};
const unescapeStep = (step: string): string => step.replaceAll('~1', '/').replaceAll('~0', '~');

/** QAPI's text for ajv's one error. */
const textOf = (error: ErrorObject, root: unknown, name: string): QmpError => {
  const place = (member?: string) => placeOf(error.instancePath, root, name, member);
  switch (error.keyword) {
    case 'required':
      return refused(`Parameter '${place(error.params['missingProperty']).full}' is missing`);
    case 'additionalProperties':
      return refused(`Parameter '${place(error.params['additionalProperty']).full}' is unexpected`);
    case 'type':
      return wrongType(place(), String(error.params['type']));
    case 'enum':
      return refused(`Parameter '${place().leaf}' does not accept value '${String(error.data)}'`);
    case 'qapiInt':
      return numberError(error.schema as NumericWidth, error.data, place());
    case 'qapiKinds':
      return refused(
        `Invalid parameter type for '${place().leaf}', expected: ${(error.schema as Kinds).name}`,
      );
    default:
      throw new Error(`unexpected keyword ${error.keyword} in a schema`);
  }
};

/** The second pass, once everything has been checked: integers become what the schema promises. */
const narrow = (
  validators: readonly ValidateFunction[],
  wrapper: { value: JsonValue },
): unknown => {
  for (const validate of validators) validate.call({ narrow: true }, wrapper);
  return wrapper.value;
};

/** Owns ajv and everything compiled; one per process is enough, there is no state but the cache. */
class Validator {
  readonly #compiled = new WeakMap<object, ValidateFunction>();
  readonly #branches = new WeakMap<UnionType, Map<string, ValidateFunction>>();
  readonly #writer = new SchemaWriter();
  #ajv: Ajv | undefined;

  prepare(): void {
    this.#ajv ??= createAjv();
  }

  checkType(type: Type, value: JsonValue, name: string): unknown {
    const validate = this.#get(type, () => this.#writer.write(type));
    const wrapper = { value };
    this.#assert(validate, wrapper, name);
    return narrow([validate], wrapper);
  }

  checkMembers(members: Members, value: JsonObject): unknown {
    const validate = this.#get(members, () => this.#writer.members(members));
    const wrapper = { value };
    this.#assert(validate, wrapper, '');
    return narrow([validate], wrapper);
  }

  /** Compiles only the branch at hand: all of `object-add` would take a tenth of a second. */
  checkUnion(type: UnionType, value: JsonObject): unknown {
    const wrapper = { value };
    const base = this.#get(type.base, () => this.#writer.base(type));
    this.#assert(base, wrapper, '');
    const branch = this.#branch(type, String(value[type.discriminator]));
    this.#assert(branch, wrapper, '');
    return narrow([base, branch], wrapper);
  }

  #assert(validate: ValidateFunction, wrapper: { value: JsonValue }, name: string): void {
    if (!validate.call({ narrow: false }, wrapper))
      throw textOf(firstError(validate), wrapper.value, name);
  }

  #branch(type: UnionType, tag: string): ValidateFunction {
    const branches = this.#branches.get(type) ?? new Map<string, ValidateFunction>();
    this.#branches.set(type, branches);
    const validate = branches.get(tag) ?? this.#compile(this.#writer.branch(type, tag));
    branches.set(tag, validate);
    return validate;
  }

  #get(key: object, schema: () => AnySchemaObject): ValidateFunction {
    const validate = this.#compiled.get(key) ?? this.#compile(schema());
    this.#compiled.set(key, validate);
    return validate;
  }

  #compile(schema: AnySchemaObject): ValidateFunction {
    const ajv = (this.#ajv ??= createAjv());
    for (const { id, schema: definition } of this.#writer.pending.splice(0))
      ajv.addSchema(definition, id);
    return ajv.compile({ properties: { value: schema } });
  }
}

/** `if` adds an error of its own behind the one that counts. */
const firstError = (validate: ValidateFunction): ErrorObject => {
  const error = validate.errors?.find(({ keyword }) => keyword !== 'if');
  if (error === undefined) throw new Error('ajv gave no error');
  return error;
};

const createAjv = (): Ajv => {
  const { Ajv: Implementation } = createRequire(import.meta.url)('ajv') as typeof AjvModule;
  const ajv = new Implementation({
    passContext: true,
    verbose: true,
    validateSchema: false,
    meta: false,
    addUsedSchema: false,
    inlineRefs: false,
    strict: false,
    logger: false,
    code: { optimize: false },
  });
  ajv.addKeyword({ keyword: 'qapiInt', validate: qapiInt, modifying: true, errors: false });
  ajv.addKeyword({ keyword: 'qapiKinds', validate: qapiKinds, errors: false });
  return ajv;
};

const validator = new Validator();

/** Loads ajv, which the first check of a structure loads otherwise. @throws when it cannot be loaded */
export const prepareValidation = (): void => validator.prepare();

/** Scalars are checked here, so that they need neither ajv nor a compiled schema. */
const checkScalar = (
  type: Type,
  value: JsonValue,
  place: Place,
): { value: unknown } | undefined => {
  switch (type.kind) {
    case 'int':
    case 'number': {
      const width = type.kind === 'int' ? type.width : 'number';
      if (!fits(width, value)) throw numberError(width, value, place);
      return { value: narrowed(width, value) };
    }
    case 'str':
    case 'bool':
    case 'null':
    case 'enum': {
      const kind = kindOfType(type);
      if (kindOf(value) !== kind) throw wrongType(place, kind);
      if (type.kind === 'enum' && !type.values.includes(value as string))
        throw refused(`Parameter '${place.leaf}' does not accept value '${value as string}'`);
      return { value };
    }
    case 'any':
      return { value };
    case 'array':
    case 'object':
    case 'union':
    case 'alternate':
    case 'lazy':
      return undefined;
  }
};

/**
 * Checks one value. Structures are narrowed in place, and only once all of it has passed.
 *
 * @param name what errors call the value
 * @throws QmpError GenericError with QMP's text
 */
export const checkValue = <T extends Type>(type: T, value: JsonValue, name: string): Infer<T> => {
  const scalar = checkScalar(type, value, { full: name, leaf: name });
  return (scalar === undefined ? validator.checkType(type, value, name) : scalar.value) as Infer<T>;
};

/** First required member of arguments that are empty. */
const firstRequired = (args: Members | UnionType): string | undefined =>
  Object.entries(isUnion(args) ? args.base : args).find(([, member]) => member.kind !== 'opt')?.[0];
const isUnion = (args: Members | UnionType): args is UnionType =>
  (args as UnionType).kind === 'union';

const firstKey = (object: JsonObject | undefined): string | undefined => {
  for (const key in object) return key;
  return undefined;
};

/**
 * Checks the arguments of a command; absent arguments are as good as `{}`. They are narrowed in
 * place, and only once all of them have passed; a command with `gen: false` gets them as they came.
 *
 * @throws QmpError GenericError with QMP's text
 */
export const checkArguments = <C extends CommandDef>(
  command: C,
  args: JsonObject | undefined,
): ArgsOf<C> => {
  const type = command.args as Members | UnionType;
  const given = firstKey(args);
  if (command.gen === false || given === undefined || args === undefined) {
    const missing = command.gen === false ? undefined : firstRequired(type);
    if (missing !== undefined) throw refused(`Parameter '${missing}' is missing`);
    return (args ?? {}) as ArgsOf<C>;
  }
  if (isUnion(type)) return validator.checkUnion(type, args) as ArgsOf<C>;
  if (firstKey(type as unknown as JsonObject) === undefined)
    throw refused(`Parameter '${given}' is unexpected`);
  return validator.checkMembers(type, args) as ArgsOf<C>;
};
