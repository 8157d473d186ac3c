import { closeSync, constants as files } from 'node:fs';
import { constants } from 'node:os';
import { check, hostError } from './libc.js';
import type { Block, Libc } from './libc.js';

export const READABLE = 1;
export const WRITABLE = 2;

export interface PollHandle {
  /** Changes what is waited for: READABLE, WRITABLE, both, or 0 for nothing. */
  set(events: number): void;
  /** No callback comes after this. Safe to call twice. */
  close(): void;
}
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}
export type LockType = 'read' | 'write' | 'unlock';

/** Descriptors over sockets, readiness, eventfds and locks. */
export interface IoCalls {
  /**
   * Receives what is there, without waiting. Descriptors that came along are appended to `fds` and
   * belong to the caller; they belong to the last message begun in these bytes.
   *
   * @returns bytes read (0: end of input), or a negative errno (-EAGAIN: nothing there, -EMSGSIZE:
   *   descriptors were lost; those that arrived are closed and the connection must be dropped)
   */
  recvmsg(fd: number, into: Uint8Array, fds: number[]): number;
  /** @returns bytes sent, possibly fewer than given (`fds` then went with the first), or a negative errno */
  sendmsg(fd: number, bytes: Uint8Array, fds?: readonly number[]): number;
  /**
   * Calls back while `fd` is ready (level-triggered). One handle per descriptor. `status` is 0 or
   * a negative errno. An error thrown by `onReady` becomes an uncaughtException.
   *
   * @throws HostError
   */
  poll(fd: number, events: number, onReady: (status: number, events: number) => void): PollHandle;
  /** One more than the highest descriptor that this process may have. */
  readonly descriptorLimit: number;
  /** A pair of connected UNIX stream sockets. @throws HostError */
  socketpair(): [number, number];
  /** Makes reads and writes of `fd` answer EAGAIN instead of waiting. @throws HostError */
  setNonBlocking(fd: number): void;
  /** A non-blocking event counter. @throws HostError */
  eventfd(): number;
  /** Whole-file lock without waiting. @returns 0 or a negative errno (-EAGAIN: somebody else has it) */
  flock(fd: number, type: LockType): number;
  /**
   * Byte-range lock of this open file, without waiting; `length` 0 reaches to the end.
   *
   * @returns 0 or a negative errno
   */
  lockRange(fd: number, type: LockType, start: bigint, length: bigint): number;
  /** Whether another open file has a lock in a byte range. @throws HostError */
  isRangeLocked(fd: number, start: bigint, length: bigint): boolean;
  /** Whether a socket has somebody at the other end: it does not listen, for one. */
  isConnected(fd: number): boolean;
  /** Who is at the other end of a UNIX socket. @throws HostError */
  peerCredentials(fd: number): PeerCredentials;
}

// One block per direction: msghdr at 0 (56 bytes), iovec at 64, control at 128, data at 2048.
const IOVEC = 64;
const CONTROL = 128;
const CONTROL_SIZE = 1040; // 253 descriptors
const DATA = 2048;
const DATA_SIZE = 256 * 1024;
const MSG_CONTROL = 32;
const MSG_CONTROLLEN = 40;
const MSG_FLAGS = 48;
const IOV_LEN = IOVEC + 8;

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SO_PEERCRED = 17;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MAX_FDS = 253;
const RLIMIT_NOFILE = 7;
const { EINTR, EINVAL, EMSGSIZE } = constants.errno;
const SOCK_STREAM_CLOEXEC = 0x80001;
const EFD_NONBLOCK_CLOEXEC = 0x80800;
const F_OFD_GETLK = 36;
const F_SETFL = 4;
const F_OFD_SETLK = 37;
const LOCK_TYPE = { read: 0, write: 1, unlock: 2 } as const;
const FLOCK_OPERATION = { read: 1 | 4, write: 2 | 4, unlock: 8 } as const;

const messageBlock = (libc: Libc): Block => {
  const block = libc.block(DATA + DATA_SIZE);
  block.bytes.fill(0, 0, DATA);
  block.bytes.writeBigUInt64LE(block.address + BigInt(IOVEC), 16);
  block.bytes.writeBigUInt64LE(1n, 24);
  block.bytes.writeBigUInt64LE(block.address + BigInt(DATA), IOVEC);
  return block;
};

const receivedDescriptors = (bytes: Buffer, fds: number[]): void => {
  const end = bytes.readUInt32LE(MSG_CONTROLLEN);
  for (let at = 0; at + 16 <= end;) {
    const length = bytes.readUInt32LE(CONTROL + at);
    if (length < 16) return;
    const rights =
      bytes.readInt32LE(CONTROL + at + 8) === SOL_SOCKET &&
      bytes.readInt32LE(CONTROL + at + 12) === SCM_RIGHTS;
    for (let fd = 16; rights && fd + 4 <= length; fd += 4)
      fds.push(bytes.readInt32LE(CONTROL + at + fd));
    at += (length + 7) & ~7;
  }
};

const makeReceive = (libc: Libc): IoCalls['recvmsg'] => {
  const native = libc.call('recvmsg', ['int', 'void *', 'int']);
  const { address, bytes } = messageBlock(libc);
  const control = address + BigInt(CONTROL);
  return (fd, into, fds) => {
    bytes.writeUInt32LE(Math.min(into.length, DATA_SIZE), IOV_LEN);
    bytes.writeBigUInt64LE(control, MSG_CONTROL);
    bytes.writeUInt32LE(CONTROL_SIZE, MSG_CONTROLLEN);
    bytes.writeInt32LE(0, MSG_FLAGS);
    let n;
    do n = native(fd, address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n === -EINTR);
    if (n < 0) return n;
    if (bytes.readUInt32LE(MSG_CONTROLLEN) > 0) receivedDescriptors(bytes, fds);
    if ((bytes.readInt32LE(MSG_FLAGS) & MSG_CTRUNC) !== 0) {
      for (const lost of fds.splice(0)) closeSync(lost);
      return -EMSGSIZE;
    }
    bytes.copy(into, 0, DATA, DATA + n);
    return n;
  };
};

const makeSend = (libc: Libc): IoCalls['sendmsg'] => {
  const native = libc.call('sendmsg', ['int', 'void *', 'int']);
  const { address, bytes } = messageBlock(libc);
  const control = address + BigInt(CONTROL);
  return (fd, from, fds = []) => {
    if (fds.length > MAX_FDS) return -EINVAL;
    const length = Math.min(from.length, DATA_SIZE);
    bytes.set(length === from.length ? from : from.subarray(0, length), DATA);
    bytes.writeUInt32LE(length, IOV_LEN);
    const rights = 16 + 4 * fds.length;
    bytes.writeBigUInt64LE(fds.length > 0 ? control : 0n, MSG_CONTROL);
    bytes.writeUInt32LE(fds.length > 0 ? (rights + 7) & ~7 : 0, MSG_CONTROLLEN);
    if (fds.length > 0) {
      bytes.writeBigUInt64LE(BigInt(rights), CONTROL);
      bytes.writeInt32LE(SOL_SOCKET, CONTROL + 8);
      bytes.writeInt32LE(SCM_RIGHTS, CONTROL + 12);
      fds.forEach((sent, i) => bytes.writeInt32LE(sent, CONTROL + 16 + 4 * i));
    }
    let n;
    do n = native(fd, address, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n === -EINTR);
    return n;
  };
};

const UV_POLL = 8;

/**
 * All handles share two callbacks: koffi has room for some thousands of them in a process.
 *
 * @see reference/native-os-access.md §3.5
 */
const makePoll = (libc: Libc): IoCalls['poll'] => {
  const { koffi } = libc;
  const pollType = koffi.pointer(koffi.proto('void (void *, int, int)'));
  const closeType = koffi.pointer(koffi.proto('void (void *)'));
  const loop = libc.uv('uv_default_loop', 'void *', [])() as bigint;
  const handleSize = Number(libc.uv('uv_handle_size', 'size_t', ['int'])(UV_POLL));
  const init = libc.uv('uv_poll_init', 'int', ['void *', 'void *', 'int']);
  const start = libc.uv('uv_poll_start', 'int', ['void *', 'int', pollType]);
  const stop = libc.uv('uv_poll_stop', 'int', ['void *']);
  const closeHandle = libc.uv('uv_close', 'void', ['void *', closeType]);
  const open = new Map<bigint, (status: number, ready: number) => void>();
  const onPoll = koffi.register((handle: bigint, status: number, ready: number) => {
    try {
      open.get(handle)?.(status, ready);
    } catch (error) {
      // An exception inside a native callback would surface late and elsewhere.
      process.nextTick(() => {
        throw error;
      });
    }
  }, pollType);
  const onClose = koffi.register((handle: bigint) => koffi.free(handle), closeType);
  return (fd, events, onReady) => {
    const handle = koffi.alloc('uint8_t', handleSize);
    const failed = Number(init(loop, handle, fd));
    if (failed < 0) {
      koffi.free(handle);
      throw hostError(-failed);
    }
    open.set(handle, onReady);
    let isOpen = true;
    const set = (wanted: number): void => {
      if (!isOpen) return;
      if (wanted === 0) stop(handle);
      else start(handle, wanted, onPoll);
    };
    const close = (): void => {
      if (!isOpen) return;
      isOpen = false;
      open.delete(handle);
      stop(handle);
      closeHandle(handle, onClose);
    };
    set(events);
    return { set, close };
  };
};

const makeLocks = (libc: Libc): Pick<IoCalls, 'flock' | 'lockRange' | 'isRangeLocked'> => {
  const flock = libc.call('flock', ['int', 'int']);
  const fcntl = libc.call('fcntl', ['int', 'int', 'void *']);
  const { address, bytes } = libc.block(32);
  const describe = (type: LockType, start: bigint, length: bigint): void => {
    bytes.fill(0);
    bytes.writeInt16LE(LOCK_TYPE[type], 0);
    bytes.writeBigInt64LE(start, 8);
    bytes.writeBigInt64LE(length, 16);
  };
  return {
    flock: (fd, type) => flock(fd, FLOCK_OPERATION[type]),
    lockRange: (fd, type, start, length) => {
      describe(type, start, length);
      return fcntl(fd, F_OFD_SETLK, address);
    },
    isRangeLocked: (fd, start, length) => {
      describe('write', start, length);
      check(fcntl(fd, F_OFD_GETLK, address));
      return bytes.readInt16LE(0) !== LOCK_TYPE.unlock;
    },
  };
};

/** Binds everything of this file. @throws when a symbol is missing */
export const bindIo = (libc: Libc): IoCalls => {
  const socketpair = libc.call('socketpair', ['int', 'int', 'int', 'void *']);
  const eventfd = libc.call('eventfd', ['uint', 'int']);
  const fcntl = libc.call('fcntl', ['int', 'int', 'long']);
  const getpeername = libc.call('getpeername', ['int', 'void *', 'void *']);
  const getsockopt = libc.call('getsockopt', ['int', 'int', 'int', 'void *', 'void *']);
  const { address, bytes } = libc.block(16);
  check(libc.call('getrlimit', ['int', 'void *'])(RLIMIT_NOFILE, address));
  return {
    // Infinity is no integer of JavaScript, but compares as one.
    descriptorLimit: Number(bytes.readBigUInt64LE(0)),
    recvmsg: makeReceive(libc),
    sendmsg: makeSend(libc),
    poll: makePoll(libc),
    ...makeLocks(libc),
    socketpair: () => {
      check(socketpair(1, SOCK_STREAM_CLOEXEC, 0, address));
      return [bytes.readInt32LE(0), bytes.readInt32LE(4)];
    },
    setNonBlocking: (fd) => void check(fcntl(fd, F_SETFL, files.O_NONBLOCK)),
    eventfd: () => check(eventfd(0, EFD_NONBLOCK_CLOEXEC)),
    isConnected: (fd) => {
      // Of the address itself, nothing is wanted.
      bytes.writeUInt32LE(0, 12);
      return getpeername(fd, address, address + 12n) === 0;
    },
    peerCredentials: (fd) => {
      bytes.writeUInt32LE(12, 12);
      check(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, address, address + 12n));
      const [pid, uid, gid] = [0, 4, 8].map((at) => bytes.readInt32LE(at));
      return { pid: pid ?? -1, uid: uid ?? -1, gid: gid ?? -1 };
    },
  };
};
