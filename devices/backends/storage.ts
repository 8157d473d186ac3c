import { refused } from '../../schema/error.js';
import { HostError } from '../core/host-memory.js';
import type { HostFile, HostMapping, HostMemoryService } from '../core/host-memory.js';
import type { BackendSettings } from './arguments.js';

/** Memory of a backend and how it is given back. */
export interface Storage {
  readonly memory: HostMapping;
  /** Takes the content away, where that is possible; others that share it read zeros. */
  discard(): void;
  close(): void;
  /** Closes, and undoes what creating it did to the file system. */
  abandon(): void;
}

type Maker = (settings: BackendSettings, host: HostMemoryService) => Storage;

/** `text: reason` when the host refused; anything else is our bug and goes on as it is. */
export const hostRefusal = (text: string, error: unknown): unknown =>
  error instanceof HostError ? refused(`${text}: ${error.message}`, error) : error;

const attempt = <T>(text: string, step: () => T): T => {
  try {
    return step();
  } catch (error) {
    throw hostRefusal(text, error);
  }
};

const hex = (value: bigint): string => `0x${value.toString(16)}`;
const roundUp = (size: bigint, unit: bigint): bigint => ((size + unit - 1n) / unit) * unit;
const MAP_FAILED = 'unable to map backing store for guest RAM';

const anonymous = (memory: HostMapping): Storage => ({
  memory,
  discard: () => undefined,
  close: () => memory.close(),
  abandon: () => memory.close(),
});

const createRam: Maker = ({ id, size, share }, host) =>
  anonymous(
    attempt(`cannot set up guest memory '${id}'`, () => host.anonymous({ size, share, name: id })),
  );

const tooSmall = (id: string, length: bigint, size: bigint, offset: bigint): Error =>
  refused(
    `${id} backing store size ${hex(length)} is too small for 'size' option ${hex(size)} plus 'offset' option ${hex(offset)}`,
  );

/** Flags of memfd_create as QEMU prints them. */
const memfdFlags = ({ seal, hugetlb, hugetlbsize }: BackendSettings): bigint => {
  const sizeBits = BigInt(Math.max(0, hugetlbsize.toString(2).length - 1));
  return 1n + (seal ? 2n : 0n) + (hugetlb ? 4n + (sizeBits << 26n) : 0n);
};

const createMemfd: Maker = (settings, host) => {
  const { id, size, share, hugetlb, hugetlbsize, seal } = settings;
  const rounded = roundUp(size, host.pageSize);
  if (!hugetlb && rounded !== size) throw tooSmall(id, size, rounded, 0n);
  const options = { size, share, name: 'memory-backend-memfd', seal };
  try {
    return anonymous(
      host.anonymous(hugetlb ? { ...options, share: true, hugePageSize: hugetlbsize } : options),
    );
  } catch (error) {
    throw hostRefusal(memfdFailure(settings, error), error);
  }
};

/** Which of the three steps of setting up a memfd the errno belongs to. */
const memfdFailure = (settings: BackendSettings, error: unknown): string => {
  const code = error instanceof HostError ? error.code : '';
  if (code === 'EINVAL' || code === 'EFBIG')
    return `failed to resize memfd to ${String(settings.size)}`;
  if (code === 'ENOMEM') return MAP_FAILED;
  if (code === 'ENOTSUP') return `cannot set up guest memory '${settings.id}'`;
  return `failed to create memfd with flags ${hex(memfdFlags(settings))}`;
};

const createShm: Maker = ({ id, size, share }, host) => {
  if (!share) throw refused("can't create shm backend with `share=off`");
  return anonymous(
    attempt(`cannot set up guest memory '${id}'`, () =>
      host.anonymous({ size, share, name: 'memory-backend-shm' }),
    ),
  );
};

/** Whether what the guest writes is dropped. @throws QmpError for combinations that make no sense */
const isRom = ({ rom, readonly, share }: BackendSettings): boolean => {
  if (rom === 'on' && !readonly)
    throw refused("property 'rom' = 'on' is not supported with 'readonly' = 'off'");
  if (rom === 'off' && readonly && share)
    throw refused(
      "property 'rom' = 'off' is incompatible with 'readonly' = 'on' and 'share' = 'on'",
    );
  return rom === 'auto' ? readonly : rom === 'on';
};

interface Backing {
  readonly file: HostFile;
  /** Undoes creating the file. */
  readonly undo: () => void;
}

const codeOf = (error: unknown): string => (error instanceof HostError ? error.code : '');

/** @see reference/pci-and-memory-devices.md §4.3, mem-path */
const openBacking = (host: HostMemoryService, path: string, readonly: boolean): Backing => {
  try {
    const file = host.open(path, { readonly });
    if (file.kind !== 'directory') return { file, undo: () => undefined };
    file.close();
    throw new HostError('EISDIR', 'Is a directory');
  } catch (error) {
    if (readonly) throw error;
    if (codeOf(error) === 'EISDIR')
      return { file: host.createUnnamed(path), undo: () => undefined };
    if (codeOf(error) !== 'ENOENT') throw error;
    const file = host.create(path);
    return { file, undo: () => file.unlink() };
  }
};

const checkAlignment = (settings: BackendSettings, page: bigint): void => {
  const { align, offset } = settings;
  if (align % page !== 0n)
    throw refused(`alignment ${hex(align)} must be multiples of page size ${hex(page)}`);
  if ((align & (align - 1n)) !== 0n)
    throw refused(`alignment ${hex(align)} must be a power of two`);
  if (offset % page !== 0n)
    throw refused(`offset ${hex(offset)} must be multiples of page size ${hex(page)}`);
};

const createFile: Maker = (settings, host) => {
  const { 'mem-path': path, readonly } = settings;
  const rom = isRom(settings);
  const { file, undo } = attempt(`can't open backing store ${path} for guest RAM`, () =>
    openBacking(host, path, readonly),
  );
  try {
    const memory = mapFile(settings, host, file, rom);
    const length = file.length();
    return fileStorage(settings, file, memory, undo, length === 0n && !readonly);
  } catch (error) {
    undo();
    file.close();
    throw error;
  }
};

/** Maps the file after the checks of its length and place, in QEMU's order. */
const mapFile = (
  settings: BackendSettings,
  host: HostMemoryService,
  file: HostFile,
  rom: boolean,
): HostMapping => {
  const { id, 'qom-type': type, size, offset, share } = settings;
  const page = host.pageSize;
  const rounded = roundUp(size, page);
  const length = file.length();
  if (length !== undefined && length > 0n && length < offset + rounded)
    throw tooSmall(id, length, rounded, offset);
  checkAlignment(settings, page);
  if (rounded !== size)
    throw refused(`backend '${type}' memory size must be multiple of ${String(page / 1024n)} KiB`);
  return attempt(MAP_FAILED, () => file.map(offset, size, { share, readonly: rom }));
};

/** An empty file grows to what is needed; a readonly one stays empty and reads zeros. */
const fileStorage = (
  { share, readonly, offset, size }: BackendSettings,
  file: HostFile,
  memory: HostMapping,
  undo: () => void,
  grow: boolean,
): Storage => {
  const close = (): void => {
    memory.close();
    file.close();
  };
  if (grow) {
    try {
      attempt(`cannot resize backing store ${file.path}`, () => file.resize(offset + size));
    } catch (error) {
      memory.close();
      throw error;
    }
  }
  return {
    memory,
    discard: () => {
      if (share && !readonly) file.punchHole(offset, size);
    },
    close,
    abandon: () => {
      if (grow) file.resize(0n);
      undo();
      close();
    },
  };
};

const MAKERS: Readonly<Record<BackendSettings['qom-type'], Maker>> = {
  'memory-backend-ram': createRam,
  'memory-backend-file': createFile,
  'memory-backend-memfd': createMemfd,
  'memory-backend-shm': createShm,
};

/** NUMA rules, in QEMU's order. */
const bindNodes = (memory: HostMapping, settings: BackendSettings): void => {
  const { policy, 'host-nodes': nodes } = settings;
  if (nodes.length > 0 && policy === 'default')
    throw refused(
      'host-nodes must be empty for policy default, or you should explicitly specify a policy other than default',
    );
  if (nodes.length === 0 && policy !== 'default')
    throw refused(`host-nodes must be set for policy ${policy}`);
  if (nodes.length > 0)
    attempt('cannot bind memory to host NUMA nodes', () => memory.bindNodes(policy, nodes));
};

export const preallocate = (memory: HostMapping, id: string): void =>
  attempt(`cannot preallocate memory of '${id}'`, () => memory.allocate());

/**
 * Sets up the memory of a backend.
 *
 * @throws QmpError with the texts of reference/pci-and-memory-devices.md §4.4; nothing stays behind
 */
export const createStorage = (settings: BackendSettings, host: HostMemoryService): Storage => {
  const storage = MAKERS[settings['qom-type']](settings, host);
  const { memory } = storage;
  try {
    memory.advise({
      ...(settings.merge ? { merge: true } : {}),
      ...(settings.dump ? {} : { dump: false }),
    });
    bindNodes(memory, settings);
    if (settings.prealloc) preallocate(memory, settings.id);
    return storage;
  } catch (error) {
    storage.abandon();
    throw error;
  }
};
