import { parseSize } from '../../devices/core/property.js';
import type { CxlConfig } from '../../devices/cxl/host.js';
import { checkWindow, type FixedWindowConfig } from '../../devices/cxl/window-config.js';
import { CommandLineError } from './keyval.js';

/** `-machine cxl=on,cxl-fmw.N.targets.M=ID,cxl-fmw.N.size=SIZE`. reference/cxl.md §1.3 */

/** A value with the option that it came from. */
export interface GivenValue {
  readonly origin: string;
  readonly value: string;
}
const LIST = 'cxl-fmw';
const MEMBERS = ['size', 'interleave-granularity'];

export type WindowKey = typeof LIST | `${typeof LIST}.${string}`;
export const isWindowKey = (key: string): key is WindowKey =>
  key === LIST || key.startsWith(`${LIST}.`);

/**
 * Reads the fixed memory windows.
 *
 * @param given every key for which `isWindowKey` holds
 * @throws CommandLineError with the texts of QEMU
 */
export const readWindows = (given: ReadonlyMap<string, GivenValue>): CxlConfig['windows'] => {
  const indices = new Set<number>();
  for (const [key, { origin }] of given) indices.add(indexOf(key, origin));
  return Array.from({ length: indices.size }, (_, index) => {
    if (!indices.has(index)) throw missing(given, `${LIST}.${String(index)}`);
    return readWindow(given, `${LIST}.${String(index)}`);
  });
};

const originOf = (given: ReadonlyMap<string, GivenValue>): string =>
  [...given.values()][0]?.origin ?? '';

const missing = (given: ReadonlyMap<string, GivenValue>, key: string): CommandLineError =>
  new CommandLineError(originOf(given), `Parameter '${key}' missing`);

const indexOf = (key: string, origin: string): number => {
  const digits = /^cxl-fmw\.(0|[1-9][0-9]{0,5})\./.exec(key)?.[1];
  if (digits !== undefined) return Number(digits);
  throw new CommandLineError(origin, `Invalid parameter type for '${LIST}', expected: array`);
};

const readWindow = (given: ReadonlyMap<string, GivenValue>, prefix: string): FixedWindowConfig => {
  const inside = [...given].filter(([key]) => key.startsWith(`${prefix}.`));
  const origin = inside[0]?.[1].origin ?? '';
  const targets = readTargets(inside, prefix);
  for (const [key] of inside)
    if (!key.startsWith(`${prefix}.targets.`) && !MEMBERS.includes(key.slice(prefix.length + 1)))
      throw new CommandLineError(origin, `Parameter '${key}' is unexpected`);
  const size = readSize(given, `${prefix}.size`);
  if (size === undefined)
    throw new CommandLineError(origin, `Parameter '${prefix}.size' is missing`);
  const window = {
    targets,
    size,
    granularity: readSize(given, `${prefix}.interleave-granularity`),
  };
  try {
    checkWindow(window);
  } catch (error) {
    throw new CommandLineError(origin, error instanceof Error ? error.message : 'bad window');
  }
  return window;
};

const readTargets = (
  inside: readonly (readonly [string, GivenValue])[],
  prefix: string,
): string[] => {
  const origin = inside[0]?.[1].origin ?? '';
  const list = `${prefix}.targets`;
  const targets = new Map(inside.filter(([key]) => key.startsWith(`${list}.`)));
  if (targets.size === 0) throw new CommandLineError(origin, `Parameter '${list}' is missing`);
  return Array.from({ length: targets.size }, (_, i) => {
    const key = `${list}.${String(i)}`;
    const target = targets.get(key);
    if (target === undefined) throw new CommandLineError(origin, `Parameter '${key}' missing`);
    return target.value;
  });
};

const readSize = (given: ReadonlyMap<string, GivenValue>, key: string): bigint | undefined => {
  const found = given.get(key);
  if (found === undefined) return undefined;
  const size = parseSize(found.value);
  if (size === undefined)
    throw new CommandLineError(found.origin, `Parameter '${key}' expects size`);
  return size;
};
