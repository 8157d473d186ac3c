import { parseArgs } from 'node:util';
import { parseSize } from '../../devices/core/property.js';
import { limitsWith, parseLimit } from '../limits.js';
import type { Limits } from '../limits.js';

/** Where the shared memory lives: a name under /dev/shm, or a directory for a file without a name. */
export type SharedPlace =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'directory'; readonly path: string };

export interface IvshmemServerConfig {
  readonly socket: string;
  readonly place: SharedPlace;
  /** Bytes, a power of two. */
  readonly size: bigint;
  /** Of each peer. */
  readonly vectors: number;
  readonly limits: Pick<Limits, 'ivshmem-peers' | 'ivshmem-queue'>;
}
export interface IvshmemServerOptions extends IvshmemServerConfig {
  readonly pidfile: string | undefined;
  readonly foreground: boolean;
  readonly verbose: boolean;
}

export const MAX_VECTORS = 64;
const MAX_SIZE = 1n << 62n;
const NAME_MAX = 255;

export const HELP = `Usage: qmemd ivshmem-server [options]
Shares memory and doorbells among ivshmem-doorbell and shm-pci devices, of qmemd and QEMU alike.

  -S, --unix-socket PATH  where clients connect (default /tmp/ivshmem_socket)
  -M, --shm-name NAME     shared memory under this name in /dev/shm (default ivshmem)
  -m, --shm-dir DIR       shared memory in a file without a name in this directory instead
  -l, --size SIZE         bytes, with K, M or G; rounded up to a power of two (default 4M)
  -n, --vectors NUMBER    interrupt vectors of each peer, 0 to ${String(MAX_VECTORS)} (default 1)
  -p, --pid-file FILE     write the process id here
  -F, --foreground        stay in the foreground
  -v, --verbose           log what happens; needs -F
      --limit NAME=VALUE  ivshmem-peers, ivshmem-queue
  -h, --help              this text
`;

const OPTIONS = {
  'unix-socket': { type: 'string', short: 'S', default: '/tmp/ivshmem_socket' },
  'shm-name': { type: 'string', short: 'M' },
  'shm-dir': { type: 'string', short: 'm' },
  size: { type: 'string', short: 'l', default: '4M' },
  vectors: { type: 'string', short: 'n', default: '1' },
  'pid-file': { type: 'string', short: 'p' },
  foreground: { type: 'boolean', short: 'F', default: false },
  verbose: { type: 'boolean', short: 'v', default: false },
  limit: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/**
 * Reads the words after `ivshmem-server`.
 *
 * @returns undefined when help is asked for
 * @throws Error naming option, value and rule
 */
export const parseServerOptions = (words: readonly string[]): IvshmemServerOptions | undefined => {
  checkKnown(words);
  const { values } = parseArgs({ args: [...words], options: OPTIONS, allowPositionals: false });
  if (values.help) return undefined;
  if (values.verbose && !values.foreground) throw new Error('-v needs -F');
  return {
    socket: values['unix-socket'],
    place: placeOf(values['shm-name'], values['shm-dir']),
    size: sizeOf(values.size),
    vectors: vectorsOf(values.vectors),
    limits: limitsOf(values.limit ?? []),
    pidfile: values['pid-file'],
    foreground: values.foreground,
    verbose: values.verbose,
  };
};

/** Node would name one letter of `-foo`. @throws Error with the word as typed */
const checkKnown = (words: readonly string[]): void => {
  const { tokens } = parseArgs({ args: [...words], options: OPTIONS, strict: false, tokens: true });
  for (const token of tokens)
    if (token.kind === 'option' && !Object.hasOwn(OPTIONS, token.name))
      throw new Error(`${words[token.index] ?? token.rawName}: invalid option`);
};

const placeOf = (name: string | undefined, directory: string | undefined): SharedPlace => {
  if (directory !== undefined) {
    if (name !== undefined) throw new Error('-M and -m exclude each other');
    return { kind: 'directory', path: directory };
  }
  const given = name ?? 'ivshmem';
  // As shm_open: a leading slash belongs to every name.
  const bare = given.startsWith('/') ? given.slice(1) : given;
  const fits = /^[^/\0]+$/.test(bare) && bare !== '.' && bare !== '..';
  if (!fits || Buffer.byteLength(bare) > NAME_MAX)
    throw new Error(`-M ${given}: the name of shared memory has 1 to 255 bytes and no slash`);
  return { kind: 'name', name: bare };
};

const sizeOf = (text: string): bigint => {
  const size = parseSize(text);
  if (size === undefined || size === 0n || size > MAX_SIZE)
    throw new Error(
      `-l ${text}: the size is a number of bytes from 1 to ${String(MAX_SIZE)}, with K, M or G`,
    );
  return powerOfTwoCeil(size);
};

const powerOfTwoCeil = (value: bigint): bigint => {
  let power = 1n;
  while (power < value) power *= 2n;
  return power;
};

const vectorsOf = (text: string): number => {
  const vectors = /^[0-9]{1,4}$/.test(text) ? Number(text) : NaN;
  if (!(vectors <= MAX_VECTORS))
    throw new Error(`-n ${text}: a peer has 0 to ${String(MAX_VECTORS)} vectors`);
  return vectors;
};

const limitsOf = (texts: readonly string[]): IvshmemServerConfig['limits'] =>
  limitsWith(Object.fromEntries(texts.map(parseLimit).map(({ name, value }) => [name, value])));
