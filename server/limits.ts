import { LATCHED_WRITES } from '../devices/core/latch.js';

/**
 * Every bound of the wire in one place: its name on the command line (`--limit NAME=VALUE`), its
 * default and what happens at it. Each is tested at the edge and one past it.
 */

export interface LimitDefinition {
  readonly default: number;
  readonly min: number;
  readonly max: number;
  /** Unit and behaviour at the limit. */
  readonly doc: string;
}

const MiB = 2 ** 20;

export const LIMITS = {
  'json-depth': {
    default: 1024,
    min: 1,
    max: 4096,
    doc: 'open brackets and braces in one message; the next one is refused with an error',
  },
  'json-tokens': {
    default: 2_097_152,
    min: 16,
    max: 16_777_216,
    doc: 'tokens in one message; the next one is refused with an error',
  },
  'json-bytes': {
    default: 64 * MiB,
    min: 64,
    max: 64 * MiB,
    doc: 'bytes of all tokens of one message, plus one; more is refused with an error',
  },
  'requests-queued': {
    default: 8,
    min: 1,
    max: 65_536,
    doc: 'in-band requests of one client that wait while out-of-band is on; reading stops there',
  },
  'reply-bytes': {
    default: MiB,
    min: 1,
    max: 1024 * MiB,
    doc: 'unread output of one client above which its requests are no longer read',
  },
  'event-bytes': {
    default: 4 * MiB,
    min: 1,
    max: 1024 * MiB,
    doc: 'unread events of one client above which it is disconnected, or, after subscribe-events, waits for the ring',
  },
  'event-ring': {
    default: 4096,
    min: 1,
    max: 1_048_576,
    doc: 'events kept for replay by each machine; older ones are lost, and the loss is told',
  },
  clients: {
    default: 256,
    min: 1,
    max: 65_536,
    doc: 'clients of one monitor, or of one qtest socket, at a time; one more is told so and closed',
  },
  'qtest-line-bytes': {
    default: 130 * MiB,
    min: 64,
    max: 256 * MiB,
    doc: 'bytes of one qtest request without its line end; a longer one is skipped and answered FAIL',
  },
  'qtest-access-bytes': {
    default: 64 * MiB,
    min: 8,
    max: 128 * MiB,
    doc: 'bytes that one qtest request reads, writes or fills; more is answered FAIL',
  },
  'ivshmem-peers': {
    default: 256,
    min: 1,
    max: 65_535,
    doc: 'clients of an ivshmem server at a time (qmemd ivshmem-server); one more is closed at once',
  },
  'ivshmem-queue': {
    default: 65_536,
    min: 16,
    max: 16_777_216,
    doc: 'messages that wait for a client of an ivshmem server that does not read; then it is closed',
  },
  chardevs: {
    default: 1024,
    min: 1,
    max: 65_536,
    doc: 'character devices of a machine, those of its monitors included; one more is refused',
  },
  descriptors: {
    default: 1024,
    min: 0,
    max: 65_536,
    doc: 'passed descriptors that a machine keeps, under names of all its monitors (getfd) and in sets (add-fd); one more is refused and closed',
  },
  'chardev-waiting': {
    default: 8,
    min: 0,
    max: 4096,
    doc: 'connections to a character device of a device that wait for the one before them to end; one more is closed',
  },
  'chardev-bytes': {
    default: MiB,
    min: 1,
    max: 1024 * MiB,
    doc: 'bytes that the peer of a character device of a device may leave unread; above, it is disconnected',
  },
  'chardev-held': {
    default: 64 * 1024,
    min: 1,
    max: 1024 * MiB,
    doc: 'bytes of the peer of a character device that are read before a device listens, each descriptor as 1024; from there on it waits, and its end is not noticed',
  },
  'migration-hello-bytes': {
    default: 4 * MiB,
    min: 64,
    max: 64 * MiB,
    doc: 'bytes in which the source of a migration says what it consists of; more is refused by the destination',
  },
  'migration-state-bytes': {
    default: 256 * MiB,
    min: 64,
    max: 1024 * MiB,
    doc: 'bytes of the saved registers of all devices in a migration, without their memory; more is refused by the destination',
  },
  'inline-state': {
    default: 16 * MiB,
    min: 1024,
    max: 32 * MiB,
    doc: 'bytes of a saved device in a reply of device-save, or in a request of device-load; more is refused, and needs a file',
  },
  'state-jobs': {
    default: 8,
    min: 1,
    max: 1024,
    doc: 'devices of a machine that are being saved or loaded at a time; one more is refused',
  },
  'websocket-frame-bytes': {
    default: 16 * MiB,
    min: 16,
    max: 1024 * MiB,
    doc: 'bytes of one incoming WebSocket message; a larger one closes the connection with 1009',
  },
  'state-latched': {
    default: LATCHED_WRITES,
    min: 0,
    max: 65_536,
    doc: 'register and configuration writes that wait while their device is stopped; further ones are dropped and counted',
  },
  'state-pass-bytes': {
    default: 64 * MiB,
    min: 4096,
    max: 1024 * MiB,
    doc: 'bytes of device memory that a pass, a snapshot or a load of a device state holds; a pass leaves more to the next one, the others are refused with EFBIG',
  },
  'http-connections': {
    default: 1024,
    min: 1,
    max: 65_536,
    doc: 'HTTP and WebSocket connections at a time; further ones are closed at once',
  },
} as const satisfies Readonly<Record<string, LimitDefinition>>;

export type LimitName = keyof typeof LIMITS;
export type Limits = Readonly<Record<LimitName, number>>;

const isLimitName = (name: string): name is LimitName => Object.hasOwn(LIMITS, name);
const names = (): LimitName[] => Object.keys(LIMITS).filter(isLimitName);

/** All limits, the given ones replaced. */
export const limitsWith = (changed: Partial<Limits> = {}): Limits => {
  const all: Partial<Record<LimitName, number>> = {};
  for (const name of names()) all[name] = changed[name] ?? LIMITS[name].default;
  return all as Limits;
};

/** One limit and what it is set to. */
export interface GivenLimit {
  readonly name: LimitName;
  readonly value: number;
}

/**
 * Checks name and value of one limit.
 *
 * @param value NaN when it is no number
 * @param written the value as somebody wrote it
 * @throws Error naming the limit, the value and the rule
 */
export const checkLimit = (name: string, value: number, written: string): GivenLimit => {
  if (!isLimitName(name))
    throw new Error(`limit '${name}' is not known; known are ${names().join(', ')}`);
  const { min, max } = LIMITS[name];
  if (!(value >= min && value <= max))
    throw new Error(
      `limit '${name}' takes an integer from ${String(min)} to ${String(max)}, not '${written}'`,
    );
  return { name, value };
};

/** Reads one `NAME=VALUE`. @throws Error naming the limit, the value and the rule */
export const parseLimit = (text: string): GivenLimit => {
  const equals = text.indexOf('=');
  const name = equals < 0 ? text : text.slice(0, equals);
  const digits = equals < 0 ? '' : text.slice(equals + 1);
  return checkLimit(name, /^[0-9]{1,15}$/.test(digits) ? Number(digits) : NaN, digits);
};
