import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  open,
  readFileSync,
  type Stats,
} from 'node:fs';
import { stat } from 'node:fs/promises';
import { Socket, type SocketConstructorOpts } from 'node:net';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type { LoadNative } from '../os/native.js';
import { nodeWork } from '../os/new-file.js';
import { reasonOf } from '../transport/reason.js';
import { FileOutlet, SocketOutlet, type Outlet } from './outlet.js';

/**
 * What a migration goes through. A regular file makes nobody wait. The others may, for ever: they are
 * the event loop's, so that no thread waits there and they can be closed at any time.
 */
type Kind = 'file' | 'pipe' | 'socket';
type Direction = 'writing' | 'reading';

/** Sends through `fd`, which is taken over. @throws Error that says why not; it is closed then */
export const descriptorOutlet = (fd: number, loadNative: LoadNative): Outlet =>
  adopted(fd, () => {
    const kind = checkedKind(fd, 'writing', loadNative);
    if (kind === 'file') return FileOutlet.adopt(fd);
    if (kind === 'socket') return new SocketOutlet(streamSocket({ fd }));
    return new SocketOutlet(streamSocket({ fd, readable: false }), { isTwoWay: false });
  });

/** Reads from `fd`, which is taken over. @throws Error that says why not; it is closed then */
export const descriptorInput = (fd: number, loadNative: LoadNative): Readable =>
  adopted(fd, () => input(fd, checkedKind(fd, 'reading', loadNative)));

/** Reads a file, or a FIFO from whoever will write there. @throws Error that says why not */
export const fileInput = async (path: string): Promise<Readable> => {
  try {
    // Opening a device may do something to it.
    kindOf(await nodeWork(stat(path)));
    const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants;
    const fd = await nodeWork(openFile(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
    return takenOver(fd, () => input(fd, kindOf(fstatSync(fd))));
  } catch (error) {
    throw new Error(`Failed to open '${path}': ${reasonOf(error)}`, { cause: error });
  }
};

const openFile = promisify(open);
/** Bytes of a file that are read at a time. */
const FILE_PIECE = 1024 * 1024;

const input = (fd: number, kind: Kind): Readable =>
  kind === 'file'
    ? createReadStream('', { fd, highWaterMark: FILE_PIECE })
    : streamSocket({ fd, writable: kind === 'socket' });

/** @throws Error when bytes do not come in a stream there */
const streamSocket = (options: SocketConstructorOpts): Socket => {
  try {
    return new Socket(options);
  } catch (error) {
    throw new Error('it is a socket, but not of streams', { cause: error });
  }
};

const adopted = <T>(fd: number, use: () => T): T => {
  try {
    return takenOver(fd, use);
  } catch (error) {
    throw new Error(`Descriptor of 'fd:' cannot be used: ${reasonOf(error)}`, { cause: error });
  }
};

/** Closes `fd` when it cannot be used. */
const takenOver = <T>(fd: number, use: () => T): T => {
  try {
    return use();
  } catch (error) {
    closeSync(fd);
    throw error;
  }
};

/** @throws Error that says why it cannot be used */
const checkedKind = (fd: number, direction: Direction, loadNative: LoadNative): Kind => {
  const kind = kindOf(fstatSync(fd));
  if (kind === 'socket') {
    if (loadNative()?.isConnected(fd) === false) throw new Error('it is a socket without a peer');
  } else if (!allows(fd, direction)) throw new Error(`it is not open for ${direction}`);
  return kind;
};

/** @throws Error with what it is instead */
const kindOf = (stats: Stats): Kind => {
  if (stats.isFile()) return 'file';
  if (stats.isFIFO()) return 'pipe';
  if (stats.isSocket()) return 'socket';
  const names = [
    [stats.isDirectory(), 'a directory'],
    [stats.isCharacterDevice(), 'a character device'],
    [stats.isBlockDevice(), 'a block device'],
  ] as const;
  const name = names.find(([is]) => is)?.[1] ?? 'something else';
  throw new Error(`it is ${name}, no regular file, pipe or socket`);
};

const OTHER: Readonly<Record<Direction, number>> = {
  writing: constants.O_RDONLY,
  reading: constants.O_WRONLY,
};

/** How it was opened; a host that does not tell says so when the first byte goes. */
const allows = (fd: number, direction: Direction): boolean => {
  const text = readFileSync(`/proc/self/fdinfo/${String(fd)}`, 'latin1');
  const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(text)?.[1] ?? '2', 8);
  return (flags & 3) !== OTHER[direction];
};
