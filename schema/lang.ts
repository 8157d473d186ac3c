/**
 * QAPI's words in TypeScript: a schema value describes a type once, and both the static type
 * (`Infer`) and the run-time check (`schema/validate.ts`) follow from it.
 *
 * @see reference/qmp-protocol.md §6
 */

/** Integer widths of QAPI; `int` and `int64` are the same, `size` is `uint64`. */
export type NarrowWidth = 'int8' | 'int16' | 'int32' | 'uint8' | 'uint16' | 'uint32';
export type WideWidth = 'int' | 'int64' | 'uint64' | 'size';
export type IntWidth = NarrowWidth | WideWidth;

/** A schema feature; `deprecated` and `unstable` are QAPI's, `qmemd` marks what is ours. */
export type Feature = string;

interface Described {
  readonly doc: string;
  readonly features?: readonly Feature[];
}
export interface IntType<W extends IntWidth = IntWidth> extends Described {
  readonly kind: 'int';
  readonly width: W;
}
export interface NumberType extends Described {
  readonly kind: 'number';
}
export interface StrType extends Described {
  readonly kind: 'str';
}
export interface BoolType extends Described {
  readonly kind: 'bool';
}
export interface NullType extends Described {
  readonly kind: 'null';
}
export interface AnyType extends Described {
  readonly kind: 'any';
}
export interface EnumType<V extends string = string> extends Described {
  readonly kind: 'enum';
  readonly name: string;
  readonly values: readonly V[];
  readonly valueFeatures?: Readonly<Record<string, readonly Feature[]>>;
}
export interface ArrType<T extends Type = Type> extends Described {
  readonly kind: 'array';
  readonly item: T;
}
export interface ObjType<M extends Members = Members> extends Described {
  readonly kind: 'object';
  readonly name: string;
  readonly members: M;
}
export interface UnionType<
  M extends Members = Members,
  B extends Readonly<Record<string, ObjType>> = Readonly<Record<string, ObjType>>,
> extends Described {
  readonly kind: 'union';
  readonly name: string;
  readonly base: M;
  /** Name of the enum-typed member of `base` that selects the branch. */
  readonly discriminator: string;
  /** Enum values without an entry have an empty branch. */
  readonly branches: B;
}
export interface AlternateType<
  B extends Readonly<Record<string, Type>> = Readonly<Record<string, Type>>,
> extends Described {
  readonly kind: 'alternate';
  readonly name: string;
  readonly branches: B;
}
/** A type whose definition is looked up late, for types that contain themselves. */
export interface LazyType<T = unknown> extends Described {
  readonly kind: 'lazy';
  readonly get: () => Type;
  readonly __type?: T;
}

export type Type =
  | IntType
  | NumberType
  | StrType
  | BoolType
  | NullType
  | AnyType
  | EnumType
  | ArrType
  | ObjType
  | UnionType
  | AlternateType
  | LazyType;

/** An optional member. `default` documents the value used when it is absent. */
export interface Opt<T extends Type = Type> {
  readonly kind: 'opt';
  readonly type: T;
  readonly default?: unknown;
}
export type Member = Type | Opt;
export type Members = Readonly<Record<string, Member>>;

type Flat<T> = { [K in keyof T]: T[K] } & {};
type OptionalKeys<M extends Members> = {
  [K in keyof M]: M[K] extends Opt ? K : never;
}[keyof M];
export type InferMembers<M extends Members> = Flat<
  { [K in Exclude<keyof M, OptionalKeys<M>>]: M[K] extends Type ? Infer<M[K]> : never } & {
    [K in OptionalKeys<M>]?: M[K] extends Opt<infer T> ? Infer<T> : never;
  }
>;
type InferUnion<M extends Members, B extends Readonly<Record<string, ObjType>>> = InferMembers<M> &
  Partial<{ [K in keyof B]: B[K] extends ObjType<infer BM> ? InferMembers<BM> : never }[keyof B]>;

/** The static type of values that a schema type accepts, after validation narrowed integers. */
export type Infer<T> =
  T extends IntType<infer W>
    ? W extends NarrowWidth
      ? number
      : bigint
    : T extends NumberType
      ? number
      : T extends StrType
        ? string
        : T extends BoolType
          ? boolean
          : T extends NullType
            ? null
            : T extends EnumType<infer V>
              ? V
              : T extends ArrType<infer I>
                ? Infer<I>[]
                : T extends ObjType<infer M>
                  ? InferMembers<M>
                  : T extends UnionType<infer M, infer B>
                    ? InferUnion<M, B>
                    : T extends AlternateType<infer B>
                      ? Infer<B[keyof B]>
                      : T extends LazyType<infer L>
                        ? L
                        : unknown;

type Extra = Omit<Described, 'doc'>;

/** An integer of the given width; `int8`..`uint32` arrive as `number`, the others as `bigint`. */
export const int = <const W extends IntWidth>(
  width: W,
  doc: string,
  extra?: Extra,
): IntType<W> => ({
  kind: 'int',
  width,
  doc,
  ...extra,
});
export const num = (doc: string, extra?: Extra): NumberType => ({ kind: 'number', doc, ...extra });
export const str = (doc: string, extra?: Extra): StrType => ({ kind: 'str', doc, ...extra });
export const bool = (doc: string, extra?: Extra): BoolType => ({ kind: 'bool', doc, ...extra });
export const any = (doc: string, extra?: Extra): AnyType => ({ kind: 'any', doc, ...extra });
export const nul = (doc: string, extra?: Extra): NullType => ({ kind: 'null', doc, ...extra });
export const arr = <T extends Type>(item: T, doc: string, extra?: Extra): ArrType<T> => ({
  kind: 'array',
  item,
  doc,
  ...extra,
});
export const opt = <T extends Type>(type: T, dflt?: unknown): Opt<T> =>
  dflt === undefined ? { kind: 'opt', type } : { kind: 'opt', type, default: dflt };
export const enumeration = <const V extends string>(
  name: string,
  values: readonly V[],
  doc: string,
  extra?: Extra & { valueFeatures?: Readonly<Record<string, readonly Feature[]>> },
): EnumType<V> => ({ kind: 'enum', name, values, doc, ...extra });
export const object = <M extends Members>(
  name: string,
  members: M,
  doc = '',
  extra?: Extra,
): ObjType<M> => ({ kind: 'object', name, members, doc, ...extra });
export const union = <M extends Members, B extends Readonly<Record<string, ObjType>>>(
  name: string,
  def: { base: M; discriminator: keyof M & string; branches: B; doc?: string },
): UnionType<M, B> => ({ kind: 'union', name, doc: '', ...def });
export const alternate = <B extends Readonly<Record<string, Type>>>(
  name: string,
  branches: B,
  doc = '',
): AlternateType<B> => ({ kind: 'alternate', name, branches, doc });
export const lazy = <T>(get: () => Type, doc = ''): LazyType<T> => ({ kind: 'lazy', get, doc });

/** What commands and events carry besides their data. */
export interface Definition {
  readonly doc: string;
  /** Version of qmemd that first had it. */
  readonly since: string;
  /** Specification section or reference, where there is one. */
  readonly spec?: string;
  readonly features?: readonly Feature[];
}
export interface CommandDef<
  N extends string = string,
  A extends Members | UnionType = Members | UnionType,
  R extends Type | undefined = Type | undefined,
> extends Definition {
  readonly kind: 'command';
  readonly name: N;
  readonly args: A;
  readonly returns: R;
  readonly allowOob?: true;
  readonly allowPreconfig?: true;
  /** Arguments reach the handler unchecked, as they came (`device_add`). */
  readonly gen?: false;
}
export interface EventDef<
  N extends string = string,
  M extends Members = Members,
> extends Definition {
  readonly kind: 'event';
  readonly name: N;
  readonly data: M;
  /** Rate limit: at most one per 1000 ms; `key` names the member that separates streams. */
  readonly throttle?: { readonly key?: string };
}

type CommandSpec<A, R> = Definition & {
  args?: A;
  returns?: R;
  allowOob?: true;
  allowPreconfig?: true;
  gen?: false;
};
type NoMembers = Readonly<Record<never, never>>;

export const command = <
  const N extends string,
  A extends Members | UnionType = NoMembers,
  R extends Type | undefined = undefined,
>(
  name: N,
  spec: CommandSpec<A, R>,
): CommandDef<N, A, R> => ({
  ...spec,
  kind: 'command',
  name,
  args: (spec.args ?? {}) as A,
  returns: spec.returns as R,
});

export const event = <const N extends string, M extends Members = NoMembers>(
  name: N,
  spec: Definition & { data?: M; throttle?: { key?: keyof M & string } },
): EventDef<N, M> => ({ ...spec, kind: 'event', name, data: (spec.data ?? {}) as M });

export type ArgsOf<C> =
  C extends CommandDef<string, infer A, Type | undefined>
    ? A extends UnionType
      ? Infer<A>
      : A extends Members
        ? InferMembers<A>
        : never
    : never;
export type ReturnOf<C> =
  C extends CommandDef<string, Members | UnionType, infer R>
    ? R extends Type
      ? Infer<R>
      : void
    : never;
export type EventData<E> = E extends EventDef<string, infer M> ? InferMembers<M> : never;

type CommandsIn<Module> = Extract<Module[keyof Module], CommandDef>;
/** One handler for every command that a schema module exports; a missing one does not compile. */
export type Handlers<Module, Context> = {
  [C in CommandsIn<Module> as C['name']]: (
    args: ArgsOf<C>,
    context: Context,
  ) => ReturnOf<C> | Promise<ReturnOf<C>>;
};
