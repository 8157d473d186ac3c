import { isJsonObject } from '../../schema/json.js';
import type { JsonObject, JsonValue } from '../../schema/json.js';

/** A request whose envelope is in order. */
export interface Request {
  readonly command: string;
  readonly arguments: JsonObject | undefined;
  readonly oob: boolean;
  /** Undefined when the request has none; null is one. */
  readonly id: JsonValue | undefined;
}
export interface Malformed {
  readonly problem: string;
  readonly id: JsonValue | undefined;
}

/** True for a request that overtakes: `exec-oob` without `execute`, whatever else is wrong. */
export const isOutOfBand = (value: JsonValue): boolean =>
  isJsonObject(value) && value['exec-oob'] !== undefined && value['execute'] === undefined;

const BUCKETS = 512n;
const WORD = 32;

/** Bucket of a member name in QEMU's objects, which decides what is looked at first. */
const bucket = (name: string): bigint => {
  // U+0000 has two bytes in modified UTF-8.
  const bytes = [...Buffer.from(name, 'utf8')].flatMap((byte) =>
    byte === 0 ? [0xc0, 0x80] : byte,
  );
  let hash = 0x238f13afn * BigInt(bytes.length);
  bytes.forEach((byte, i) => {
    hash += BigInt(byte) << BigInt((5 * i) % 24);
  });
  return BigInt.asUintN(WORD, 1103515243n * BigInt.asUintN(WORD, hash) + 12345n) % BUCKETS;
};

/** Member names in the order in which QEMU visits them: by bucket, newest first within one. */
const visitingOrder = (message: JsonObject): string[] =>
  Object.keys(message)
    .map((name, i) => ({ name, i, bucket: bucket(name) }))
    .sort((a, b) => (a.bucket === b.bucket ? b.i - a.i : a.bucket < b.bucket ? -1 : 1))
    .map(({ name }) => name);

const memberProblem = (name: string, value: JsonValue, mayBeOob: boolean): string | undefined => {
  if (name === 'execute' || (name === 'exec-oob' && mayBeOob))
    return typeof value === 'string' ? undefined : `member '${name}' must be a string`;
  if (name === 'arguments')
    return isJsonObject(value) ? undefined : "member 'arguments' must be an object";
  return name === 'id' ? undefined : `member '${name}' is unexpected`;
};

const firstProblem = (message: JsonObject, mayBeOob: boolean): string => {
  for (const name of visitingOrder(message)) {
    const problem = memberProblem(name, message[name] ?? null, mayBeOob);
    if (problem !== undefined) return problem;
    // `exec-oob` is visited first.
    if (name === 'execute' && message['exec-oob'] !== undefined && mayBeOob)
      return "member 'execute' clashes with 'exec-oob'";
  }
  return "lacks member 'execute'";
};

/**
 * Checks the envelope of a request.
 *
 * @param mayBeOob the session has enabled out-of-band execution
 * @see reference/qmp-protocol.md §2.3 rows 1-3
 */
export const readEnvelope = (message: JsonValue, mayBeOob: boolean): Request | Malformed => {
  if (!isJsonObject(message)) return { problem: 'QMP input must be a JSON object', id: undefined };
  const { execute, arguments: args, id } = message;
  const isOob = mayBeOob && message['exec-oob'] !== undefined;
  const command = isOob ? message['exec-oob'] : execute;
  const expected = 1 + (args === undefined ? 0 : 1) + (id === undefined ? 0 : 1);
  const isPlain = typeof command === 'string' && Object.keys(message).length === expected;
  if (isPlain && (args === undefined || isJsonObject(args)))
    return { command, arguments: args, oob: isOob, id };
  return { problem: `QMP input ${firstProblem(message, mayBeOob)}`, id };
};
