import type { AddressSpace } from '../../devices/core/address-space.js';
import type { AccessSize } from '../../devices/core/host-memory.js';
import { bytesFromHex, valueReply } from './hex.js';
import { BadRequest, type Words } from './words.js';

/**
 * Answers one request with one line, without its end, or with what a register holds.
 *
 * @throws BadRequest
 */
export type Command = (words: Words) => string | bigint;

export interface AccessTargets {
  readonly memory: AddressSpace;
  readonly io: AddressSpace;
  /** Bytes that one request may read or write. */
  readonly maxBytes: number;
}

const OK = 'OK';
/** Shortest word of data: the prefix and something behind it. */
const MIN_DATA = 3;
const LAST_PORT = 0xffffn;
const WIDTHS = [
  ['b', 1],
  ['w', 2],
  ['l', 4],
  ['q', 8],
] as const;

const portOf = (words: Words): bigint => {
  const port = words.unsigned(1, 'port');
  if (port > LAST_PORT)
    throw new BadRequest(`${words.text(0)}: port 0x${port.toString(16)} is above 0xffff`);
  return port;
};

const portCommands = ({ io }: AccessTargets): [string, Command][] =>
  WIDTHS.filter(([, size]) => size <= 4).flatMap(([letter, size]) => [
    [`in${letter}`, (words) => valueReply(io.read(portOf(words), size), 4)],
    [
      `out${letter}`,
      (words) => {
        const port = portOf(words);
        io.write(port, size, words.unsigned(2, 'value'));
        return OK;
      },
    ],
  ]);

const registerCommands = ({ memory }: AccessTargets): [string, Command][] =>
  WIDTHS.flatMap(([letter, size]: readonly [string, AccessSize]) => [
    [
      `read${letter}`,
      (words) => {
        const near = words.small(1);
        return near >= 0
          ? memory.readAt(near, size)
          : memory.read(words.unsigned(1, 'address'), size);
      },
    ],
    [
      `write${letter}`,
      (words) => {
        const near = words.small(1);
        const address = near >= 0 ? undefined : words.unsigned(1, 'address');
        const value = words.unsigned(2, 'value');
        if (address === undefined) memory.writeAt(near, size, value);
        else memory.write(address, size, value);
        return OK;
      },
    ],
  ]);

/** Reads and writes of any length. */
class Bulk {
  readonly #targets: AccessTargets;

  constructor(targets: AccessTargets) {
    this.#targets = targets;
  }

  commands(): [string, Command][] {
    return [
      ['read', (words) => `OK 0x${this.#read(words, 1).toString('hex')}`],
      ['b64read', (words) => `OK ${this.#read(words, 0).toString('base64')}`],
      ['write', (words) => this.#write(words, bytesFromHex)],
      ['b64write', (words) => this.#write(words, bytesFromBase64)],
      ['memset', (words) => this.#fill(words)],
    ];
  }

  #range(words: Words, least: number): { address: bigint; length: number } {
    const address = words.unsigned(1, 'address');
    const length = words.unsigned(2, 'length');
    const { maxBytes } = this.#targets;
    if (length < BigInt(least))
      throw new BadRequest(`${words.text(0)}: length 0 is below ${String(least)}`);
    if (length > BigInt(maxBytes))
      throw new BadRequest(
        `${words.text(0)}: length ${String(length)} is above ${String(maxBytes)} (--limit qtest-access-bytes)`,
      );
    return { address, length: Number(length) };
  }

  #read(words: Words, least: number): Buffer {
    const { address, length } = this.#range(words, least);
    const bytes = Buffer.allocUnsafe(length);
    this.#targets.memory.readInto(address, bytes);
    return bytes;
  }

  #write(words: Words, decode: (word: Buffer, length: number) => Buffer): string {
    const { address, length } = this.#range(words, 0);
    words.require(3, 'data');
    if (words.length(3) < MIN_DATA) return 'ERR invalid argument size';
    this.#targets.memory.writeBytes(address, decode(words.bytes(3), length));
    return OK;
  }

  #fill(words: Words): string {
    const { address, length } = this.#range(words, 0);
    const value = Number(words.unsigned(3, 'value') & 0xffn);
    this.#targets.memory.writeBytes(address, Buffer.alloc(length, value));
    return OK;
  }
}

/** At most `length` bytes; fewer when fewer are spelled. */
const bytesFromBase64 = (word: Buffer, length: number): Buffer =>
  Buffer.from(word.toString('latin1'), 'base64').subarray(0, length);

/** The accesses of a processor, by name. reference/pci-and-memory-devices.md §10.2. */
export const accessCommands = (targets: AccessTargets): [string, Command][] => [
  ['endianness', () => 'OK little'],
  ...portCommands(targets),
  ...registerCommands(targets),
  ...new Bulk(targets).commands(),
];
