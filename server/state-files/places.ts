import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { HostError } from '../../devices/core/host-memory.js';
import { refused } from '../../schema/error.js';
import { nodeWork } from '../os/new-file.js';
import type { Source } from './block-reader.js';
import type { Sink } from './block-writer.js';
import { DamagedState } from './layout.js';

/** A state that goes into a reply. */
export class InlineSink implements Sink {
  readonly #limit: number;
  readonly #parts: { bytes: Buffer; position: number }[] = [];

  /** @param limit most bytes of it */
  constructor(limit: number) {
    this.#limit = limit;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    if (position + bytes.length > this.#limit)
      throw refused(
        `it has more than ${String(this.#limit)} bytes (limit 'inline-state'): name a path`,
      );
    this.#parts.push({ bytes: Buffer.from(bytes), position });
  }
  toBase64(): string {
    this.#parts.sort((a, b) => a.position - b.position);
    return Buffer.concat(this.#parts.map(({ bytes }) => bytes)).toString('base64');
  }
}

/** A state that came with a request. */
export class InlineSource implements Source {
  readonly #bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  get length(): number {
    return this.#bytes.length;
  }
  async read(position: number, into: Uint8Array): Promise<void> {
    // Others are served.
    await setImmediate();
    if (position + into.length > this.length) throw new DamagedState(this.length, 'it ends here');
    into.set(this.#bytes.subarray(position, position + into.length));
  }
}

/** A state in a file. */
export class FileSource implements Source {
  readonly length: number;
  readonly #file: FileHandle;

  private constructor(file: FileHandle, length: number) {
    this.#file = file;
    this.length = length;
  }

  /** @throws HostError */
  static async open(path: string): Promise<FileSource> {
    // A FIFO or a terminal must not make open wait.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
    const file = await nodeWork(open(path, flags));
    try {
      const stats = await nodeWork(file.stat());
      if (!stats.isFile()) throw new HostError('EINVAL', 'it is not a regular file');
      return new FileSource(file, stats.size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async read(position: number, into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.length;) {
      const rest = into.length - done;
      const { bytesRead } = await nodeWork(this.#file.read(into, done, rest, position + done));
      if (bytesRead === 0) throw new DamagedState(position + done, 'it ends here');
      done += bytesRead;
    }
  }
  async close(): Promise<void> {
    await this.#file.close();
  }
}
