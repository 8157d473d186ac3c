import { fstatSync, readdirSync, readFileSync, type BigIntStats } from 'node:fs';
import { refused } from '../../schema/error.js';

/** What the numbers 0 to 2 are for. */
const STANDARD = 2;
const MAX_DESCRIPTOR = 2 ** 31 - 1;
// O_ACCMODE and O_WRONLY, as fdinfo tells them.
const ACCESS = 0o3;
const WRITE_ONLY = 0o1;

export interface RecordOptions {
  /** Numbers that options name: whoever reads the option uses them. */
  readonly named?: readonly number[];
  /** A number by which this process was started in the background. */
  readonly own?: number | undefined;
}

/**
 * The descriptors that this process was started with, from 3 on, each of which may be taken over
 * once. None of them is a descriptor that the daemon or Node opened.
 */
export class InheritedDescriptors {
  /** All of them, whether they are named or not. */
  readonly numbers: readonly number[];
  /** What may still be taken over, and which object it was at the start. */
  readonly #objects = new Map<number, string>();

  private constructor(found: readonly Found[], named: readonly number[]) {
    this.numbers = found.map(({ fd }) => fd);
    for (const { fd, stats } of found)
      if (!named.includes(fd)) this.#objects.set(fd, objectOf(stats));
  }

  /** To be called before anything is opened. Where the host has no /proc, knows what is named. */
  static record({ named = [], own }: RecordOptions = {}): InheritedDescriptors {
    const open = (openNumbers() ?? named)
      .filter((fd) => fd > STANDARD && fd !== own)
      .flatMap((fd) => foundAt(fd) ?? []);
    const ours = innerPipes(open);
    return new InheritedDescriptors(
      open.filter(({ stats }) => !ours.has(objectOf(stats))),
      named,
    );
  }
  /** Of a process that was given none. */
  static none(): InheritedDescriptors {
    return new InheritedDescriptors([], []);
  }

  /**
   * Takes a socket, pipe or file over: whoever asks closes it.
   *
   * @param text its number, in decimal digits
   * @throws QmpError GenericError; nothing is taken then
   */
  take(text: string): number {
    // As QEMU.
    const fd = /^[0-9]+$/.test(text) ? Number(text) : NaN;
    if (!(fd <= MAX_DESCRIPTOR)) throw refused(`Invalid file descriptor number '${text}'`);
    if (fd <= STANDARD)
      throw refused(`File descriptor ${text} is a standard stream: a number from 3 on is expected`);
    const stats = statsOf(fd);
    if (stats === undefined) throw refused(`File descriptor ${text} is not open`);
    if (kindOf(stats) === undefined)
      throw refused(`File descriptor ${text} is neither a socket, a pipe nor a file`);
    if (this.#objects.get(fd) !== objectOf(stats))
      throw refused(
        `File descriptor ${text} is not free: only one that the daemon was started with, and that nothing else uses, can be taken over`,
      );
    this.#objects.delete(fd);
    return fd;
  }
}

interface Found {
  readonly fd: number;
  readonly stats: BigIntStats;
}

const objectOf = ({ dev, ino }: BigIntStats): string => `${String(dev)}:${String(ino)}`;

const kindOf = (stats: BigIntStats): 'socket' | 'pipe' | 'file' | undefined => {
  if (stats.isSocket()) return 'socket';
  if (stats.isFIFO()) return 'pipe';
  return stats.isFile() ? 'file' : undefined;
};

/** Undefined when it is closed. */
const statsOf = (fd: number): BigIntStats | undefined => {
  try {
    return fstatSync(fd, { bigint: true });
  } catch {
    return undefined;
  }
};

/** Undefined when it is closed, or of a kind that nobody takes over. */
const foundAt = (fd: number): Found | undefined => {
  const stats = statsOf(fd);
  return stats !== undefined && kindOf(stats) !== undefined ? { fd, stats } : undefined;
};

/** Undefined where the host does not tell. */
const openNumbers = (): number[] | undefined => {
  try {
    return readdirSync('/proc/self/fd').map(Number);
  } catch {
    return undefined;
  }
};

/** Pipes of which this process has both ends, as Node has some of its own from the start. */
const innerPipes = (found: readonly Found[]): ReadonlySet<string> => {
  const pipes = found.filter(({ stats }) => kindOf(stats) === 'pipe');
  const ends = (writing: boolean): Set<string> =>
    new Set(
      pipes.filter(({ fd }) => isWriteOnly(fd) === writing).map(({ stats }) => objectOf(stats)),
    );
  const [readable, writable] = [ends(false), ends(true)];
  return new Set([...readable].filter((pipe) => writable.has(pipe)));
};

const isWriteOnly = (fd: number): boolean => {
  try {
    const text = readFileSync(`/proc/self/fdinfo/${String(fd)}`, 'latin1');
    const flags = parseInt(/^flags:\s*([0-7]+)$/m.exec(text)?.[1] ?? '0', 8);
    return (flags & ACCESS) === WRITE_ONLY;
  } catch {
    return false; // no /proc
  }
};
