import { refused } from '../../schema/error.js';
import type { ArgsOf, Infer } from '../../schema/lang.js';
import type {
  MigrationParameters,
  migrateSetParameters,
} from '../../schema/migration-parameters.js';

type Parameters = Infer<typeof MigrationParameters>;
type Given = ArgsOf<typeof migrateSetParameters>;

/** The values that QEMU 7.2 starts with. */
const DEFAULTS: Parameters = {
  'announce-initial': 50n,
  'announce-max': 550n,
  'announce-rounds': 5n,
  'announce-step': 100n,
  'compress-level': 1,
  'compress-threads': 8,
  'compress-wait-thread': true,
  'decompress-threads': 2,
  'throttle-trigger-threshold': 50,
  'cpu-throttle-initial': 20,
  'cpu-throttle-increment': 10,
  'cpu-throttle-tailslow': false,
  'tls-creds': '',
  'tls-hostname': '',
  'tls-authz': '',
  'max-bandwidth': 128n << 20n,
  'downtime-limit': 300n,
  'x-checkpoint-delay': 20_000,
  'block-incremental': false,
  'multifd-channels': 2,
  'xbzrle-cache-size': 64n << 20n,
  'max-postcopy-bandwidth': 0n,
  'max-cpu-throttle': 99,
  'multifd-compression': 'none',
  'multifd-zlib-level': 1,
  'multifd-zstd-level': 1,
};

type Bounded = {
  [K in keyof Parameters]-?: NonNullable<Parameters[K]> extends number | bigint ? K : never;
}[keyof Parameters];
const value = (between: string): string => `a value between ${between}`;
const range = (of: string): string => `an integer in the range of ${of}`;

/** Bounds of single parameters, in the order in which QEMU checks them, with its words. */
const BOUNDS: readonly (readonly [Bounded, number, number, string])[] = [
  ['compress-level', 0, 9, value('0 and 9')],
  ['compress-threads', 1, 255, value('1 and 255')],
  ['decompress-threads', 1, 255, value('1 and 255')],
  ['throttle-trigger-threshold', 1, 100, range('1 to 100')],
  ['cpu-throttle-initial', 1, 99, range('1 to 99')],
  ['cpu-throttle-increment', 1, 99, range('1 to 99')],
  ['max-cpu-throttle', 1, 99, range('cpu_throttle_initial to 99')],
  ['downtime-limit', 0, 2_000_000, range('0 to (2000 * 1000) ms')],
  ['multifd-channels', 1, 255, value('1 and 255')],
  ['multifd-zlib-level', 0, 9, value('0 and 9')],
  ['multifd-zstd-level', 0, 20, value('0 and 20')],
  ['announce-initial', 0, 100_000, value('0 and 100000')],
  ['announce-max', 0, 100_000, value('0 and 100000')],
  ['announce-rounds', 0, 1000, value('0 and 1000')],
  ['announce-step', 1, 10_000, value('0 and 10000')],
];
const PAGE_SIZE = 4096n;

const badValue = (name: string, expected: string): Error =>
  refused(`Parameter '${name.replaceAll('-', '_')}' expects ${expected}`);

/** @throws QmpError naming the first parameter that is out of its bounds */
const check = (next: Parameters): void => {
  for (const [name, min, max, expected] of BOUNDS) {
    const given = next[name] ?? min;
    if (given < min || given > max) throw badValue(name, expected);
    if (name === 'max-cpu-throttle' && given < (next['cpu-throttle-initial'] ?? 1))
      throw badValue(name, expected);
  }
  const cache = next['xbzrle-cache-size'] ?? PAGE_SIZE;
  if (cache < PAGE_SIZE || (cache & (cache - 1n)) !== 0n)
    throw badValue('xbzrle-cache-size', 'a power of two no less than the target page size');
};

/** `given` on top of `current`; null stands for the empty text. */
const merged = (current: Parameters, given: Given): Parameters => {
  const { 'tls-creds': creds, 'tls-hostname': host, 'tls-authz': authz, ...rest } = given;
  return {
    ...current,
    ...rest,
    ...(creds === undefined ? {} : { 'tls-creds': creds ?? '' }),
    ...(host === undefined ? {} : { 'tls-hostname': host ?? '' }),
    ...(authz === undefined ? {} : { 'tls-authz': authz ?? '' }),
  };
};

/** The migration parameters of one machine, kept for who asks. */
export class StoredMigrationParameters {
  #current = DEFAULTS;

  get all(): Parameters {
    return this.#current;
  }

  /** Stores all that is given or nothing. @throws QmpError naming the first one out of its bounds */
  set(given: Given): void {
    const next = merged(this.#current, given);
    check(next);
    this.#current = next;
  }
}
