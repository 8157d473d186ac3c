import { readContainer } from '../../devices/state/container.js';
import type { StateControl } from '../../devices/state/control.js';

/** Bytes of a region through which streams go. */
export const LENGTH = 4096;

/** Fetches all chunks of a stream; what the size read says. */
export const fetchAll = (control: StateControl, length = LENGTH): Uint8Array => {
  const size = control.memorySize();
  const chunks: Uint8Array[] = [];
  for (let pos = 0; pos < size; pos += length)
    chunks.push(control.memoryChunk(BigInt(pos), length).slice());
  return Buffer.concat(chunks);
};
/** Loads a stream in all its chunks. */
export const loadAll = (control: StateControl, stream: Uint8Array, length = LENGTH): void => {
  control.announceMemory(BigInt(stream.length));
  for (let pos = 0; pos < stream.length; pos += length) {
    const chunk = new Uint8Array(length);
    chunk.set(stream.subarray(pos, pos + length));
    control.loadMemoryChunk(BigInt(pos), chunk);
  }
};
/** Numbers of the pages that a stream has. */
export const pagesOf = (stream: Uint8Array, capacity: number): number[] =>
  readContainer(stream, 'memory', capacity).flatMap(({ offset, data }) =>
    Array.from({ length: Math.ceil(data.length / 4096) }, (_, i) => offset / 4096 + i),
  );
