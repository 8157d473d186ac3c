import { fstatSync, readSync, writeSync } from 'node:fs';
import { HostError } from '../../devices/core/host-memory.js';
import type { AccessSize } from '../../devices/core/host-memory.js';
import { fromNodeError } from './libc.js';
import type { MapRequest, MemoryCalls } from './memory-calls.js';

/** How bytes are reached; ranges are checked before. */
export interface Access {
  read(offset: bigint, into: Uint8Array): boolean;
  write(offset: bigint, from: Uint8Array): boolean;
  readInt(offset: bigint, size: AccessSize): bigint;
  writeInt(offset: bigint, size: AccessSize, value: bigint): void;
}

const WINDOW_BITS = 30n; // one view of 8 GiB ends Node 20
const WINDOW_SIZE = 1 << Number(WINDOW_BITS);
const WINDOW_MASK = BigInt(WINDOW_SIZE - 1);

interface Window {
  readonly bytes: Uint8Array;
  readonly data: DataView;
}

/** Touches memory directly, through views made on first use. */
export class ViewAccess implements Access {
  readonly #calls: MemoryCalls;
  readonly #address: bigint;
  readonly #size: bigint;
  readonly #windows = new Map<number, Window>();

  constructor(calls: MemoryCalls, address: bigint, size: bigint) {
    this.#calls = calls;
    this.#address = address;
    this.#size = size;
  }

  read(offset: bigint, into: Uint8Array): boolean {
    this.#eachPart(offset, into.length, (bytes, at) => into.set(bytes, at));
    return true;
  }

  write(offset: bigint, from: Uint8Array): boolean {
    this.#eachPart(offset, from.length, (bytes, at) =>
      bytes.set(from.subarray(at, at + bytes.length)),
    );
    return true;
  }

  readInt(offset: bigint, size: AccessSize): bigint {
    const at = Number(offset & WINDOW_MASK);
    if (at + size > WINDOW_SIZE) return readIntByBytes(this, offset, size);
    return getInt(this.#window(offset).data, at, size);
  }

  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    const at = Number(offset & WINDOW_MASK);
    if (at + size > WINDOW_SIZE) writeIntByBytes(this, offset, size, value);
    else setInt(this.#window(offset).data, at, size, value);
  }

  #window(offset: bigint): Window {
    const index = Number(offset >> WINDOW_BITS);
    const known = this.#windows.get(index);
    if (known !== undefined) return known;
    const base = BigInt(index) << WINDOW_BITS;
    const left = this.#size - base;
    const length = left < BigInt(WINDOW_SIZE) ? Number(left) : WINDOW_SIZE;
    const buffer = this.#calls.view(this.#address + base, length);
    const window = { bytes: new Uint8Array(buffer), data: new DataView(buffer) };
    this.#windows.set(index, window);
    return window;
  }

  #eachPart(offset: bigint, length: number, visit: (bytes: Uint8Array, at: number) => void): void {
    for (let at = 0; at < length;) {
      const place = offset + BigInt(at);
      const start = Number(place & WINDOW_MASK);
      const n = Math.min(length - at, WINDOW_SIZE - start);
      visit(this.#window(place).bytes.subarray(start, start + n), at);
      at += n;
    }
  }
}

/** Copies through the kernel, which answers an error where a view would fault. */
class GuardedAccess implements Access {
  readonly #calls: MemoryCalls;
  readonly #address: bigint;

  constructor(calls: MemoryCalls, address: bigint) {
    this.#calls = calls;
    this.#address = address;
  }

  read(offset: bigint, into: Uint8Array): boolean {
    return this.#calls.copyFrom(this.#address + offset, into);
  }

  write(offset: bigint, from: Uint8Array): boolean {
    return this.#calls.copyTo(this.#address + offset, from);
  }

  readInt(offset: bigint, size: AccessSize): bigint {
    return readIntByBytes(this, offset, size);
  }

  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    writeIntByBytes(this, offset, size, value);
  }
}

/** For memory that somebody else can shrink or that the host may fail to back. */
export const guardedAccess = (
  calls: MemoryCalls,
  address: bigint,
  options: MapRequest & { readonly fileIsOpen?: () => boolean },
): Access => {
  const guarded = new GuardedAccess(calls, address);
  const { share, fileIsOpen } = options;
  if (!share || fileIsOpen === undefined) return guarded;
  return new FileAccess(guarded, { ...options, fileIsOpen });
};

/** From here on the system copies faster between a file and a buffer than by way of a mapping. */
const LONG = 1 << 16;

/** Long copies go through the file behind a shared mapping; what it refuses goes through memory. */
class FileAccess implements Access {
  readonly #memory: Access;
  readonly #fd: number;
  readonly #start: bigint;
  readonly #isOpen: () => boolean;

  constructor(
    memory: Access,
    { fd, offset, fileIsOpen }: MapRequest & { readonly fileIsOpen: () => boolean },
  ) {
    this.#memory = memory;
    this.#fd = fd;
    this.#start = offset;
    this.#isOpen = fileIsOpen;
  }

  read(offset: bigint, into: Uint8Array): boolean {
    if (into.length < LONG || !this.#tryCopy(readSync, offset, into))
      return this.#memory.read(offset, into);
    return true;
  }

  write(offset: bigint, from: Uint8Array): boolean {
    if (from.length < LONG || !this.#tryCopy(writeSync, offset, from))
      return this.#memory.write(offset, from);
    return true;
  }

  readInt(offset: bigint, size: AccessSize): bigint {
    return this.#memory.readInt(offset, size);
  }

  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    this.#memory.writeInt(offset, size, value);
  }

  /** False when the file is too short by now, or is of a kind that is only mapped. */
  #tryCopy(call: Copy, offset: bigint, bytes: Uint8Array): boolean {
    if (!this.#isOpen()) return false;
    const place = this.#start + offset;
    if (fstatSync(this.#fd, { bigint: true }).size < place + BigInt(bytes.length)) return false;
    try {
      let done = 0;
      while (done < bytes.length) {
        const n = call(this.#fd, bytes, done, bytes.length - done, Number(place) + done);
        if (n === 0) return false;
        done += n;
      }
      return true;
    } catch (error) {
      if (fromNodeError(error) instanceof HostError) return false;
      throw error;
    }
  }
}

type Copy = (fd: number, bytes: Uint8Array, at: number, length: number, place: number) => number;

const readIntByBytes = (access: Access, offset: bigint, size: AccessSize): bigint => {
  const bytes = new Uint8Array(8);
  if (!access.read(offset, bytes.subarray(0, size))) return 0n;
  return new DataView(bytes.buffer).getBigUint64(0, true);
};

const writeIntByBytes = (access: Access, offset: bigint, size: AccessSize, value: bigint): void => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  access.write(offset, bytes.subarray(0, size));
};

const getInt = (data: DataView, at: number, size: AccessSize): bigint => {
  switch (size) {
    case 1:
      return BigInt(data.getUint8(at));
    case 2:
      return BigInt(data.getUint16(at, true));
    case 4:
      return BigInt(data.getUint32(at, true));
    case 8:
      return data.getBigUint64(at, true);
  }
};

const setInt = (data: DataView, at: number, size: AccessSize, value: bigint): void => {
  switch (size) {
    case 1:
      data.setUint8(at, Number(value));
      return;
    case 2:
      data.setUint16(at, Number(value), true);
      return;
    case 4:
      data.setUint32(at, Number(value), true);
      return;
    case 8:
      data.setBigUint64(at, value, true);
  }
};
