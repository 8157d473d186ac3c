import { chmodSync, existsSync, fstatSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, Socket } from 'node:net';
import type { ListenOptions, Server, SocketConstructorOpts } from 'node:net';
import { dirname } from 'node:path';
import type { LoadNative } from '../os/native.js';
import type { Connection } from './connection.js';
import { descriptorOf, LateConnection, socketConnection } from './late-connection.js';
import { codeOf, reasonOf } from './reason.js';

export interface UnixOptions {
  /** How descriptors are received; without it they are lost. */
  readonly native?: LoadNative;
}
export interface UnixListenOptions extends UnixOptions {
  /** Where to listen. Required without `fd`. */
  readonly path?: string;
  /** An inherited descriptor that listens already. */
  readonly fd?: number;
  /** Permissions of the socket. Default 0600. */
  readonly mode?: number;
  /** Clients that may wait to be accepted. Default: as many as the system allows. */
  readonly backlog?: number;
  readonly onConnection: OnConnection;
}
/** A client, and the socket behind it: for its addresses, and to hear of its end. */
export type OnConnection = (connection: Connection, socket: Socket) => void;

export interface Endpoint {
  /** Accepts no more and removes the path; of a connected endpoint, ends it. Safe to call twice. */
  close(): void;
  /** Where it listens, when that was chosen by the system. */
  readonly address?: { readonly host: string; readonly port: string };
}

/** Longest path that fits `sun_path` with its end. */
const MAX_PATH_BYTES = 107;
const RECEIVE_BYTES = 64 * 1024;
const MODE_BITS = 0o777;

const checkPath = (path: string): void => {
  if (path === '') throw new Error('UNIX socket path is empty');
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    throw new Error(`UNIX socket path '${path}' is too long`);
};

const connectTo = (path: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    // Whoever takes the socket over decides how it is read.
    socket.pause();
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });

const existsAt = (path: string): boolean => {
  try {
    const found = lstatSync(path);
    if (found.isSocket()) return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw new Error(`Failed to bind socket to ${path}: ${reasonOf(error)}`, { cause: error });
  }
  throw new Error(`Failed to bind socket to ${path}: there is a file that is no socket`);
};

const isSocket = (fd: number): boolean => {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false; // closed, or never open
  }
};

/** @throws Error in QEMU's words */
const checkSocket = (fd: number): void => {
  if (!isSocket(fd)) throw new Error(`File descriptor '${String(fd)}' is not a socket`);
};

/** Removes a socket that nobody listens on. @throws when somebody does */
const removeStale = async (path: string): Promise<void> => {
  if (!existsAt(path)) return;
  const inUse = `Failed to bind socket to ${path}: Address already in use`;
  try {
    (await connectTo(path)).destroy();
  } catch (error) {
    // EAGAIN: alive, but its backlog is full.
    if (codeOf(error) !== 'ECONNREFUSED' && codeOf(error) !== 'ENOENT')
      throw new Error(inUse, { cause: error });
    if (codeOf(error) === 'ECONNREFUSED') unlinkSync(path);
    return;
  }
  throw new Error(inUse);
};

const listen = (server: Server, options: ListenOptions & { fd?: number }): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  });

/** Creates the socket with its permissions, so that it never exists with wider ones. */
const listenAt = (
  server: Server,
  { path, backlog }: { path: string; backlog: number | undefined },
  mode: number,
): Promise<void> => {
  const before = process.umask(MODE_BITS & ~mode);
  try {
    return listen(server, { path, ...(backlog === undefined ? {} : { backlog }) });
  } finally {
    process.umask(before);
  }
};

/** Makes connections of sockets: each by the best means that the host has. */
const connector = (native: LoadNative | undefined): ((socket: Socket) => Connection) => {
  const into = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
  return (socket) => {
    socket.on('error', () => socket.destroy());
    const fd = descriptorOf(socket);
    if (native === undefined || fd === undefined) return socketConnection(socket);
    return new LateConnection({ socket, fd, native, into });
  };
};

/**
 * Listens on a UNIX socket.
 *
 * @throws Error with the reason in plain words: path too long, in use, not accessible
 */
export const listenUnix = async (options: UnixListenOptions): Promise<Endpoint> => {
  const { path, fd, mode = 0o600 } = options;
  const connectionOf = connector(options.native);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
    options.onConnection(connectionOf(socket), socket),
  );
  if (path !== undefined) {
    checkPath(path);
    await removeStale(path);
  } else if (fd === undefined) throw new Error('a listening socket needs a path or a descriptor');
  else checkSocket(fd);
  try {
    await (path === undefined
      ? listen(server, { fd: fd ?? -1 })
      : listenAt(server, { path, backlog: options.backlog }, mode));
    if (path !== undefined) chmodSync(path, mode);
  } catch (error) {
    // As QEMU says it of a socket that cannot listen.
    const what = path === undefined ? 'listen on fd socket' : `bind socket to ${path}`;
    // libuv turns ENOENT into EACCES here.
    const isNowhere = path !== undefined && !existsSync(dirname(path));
    const reason = isNowhere ? 'No such file or directory' : reasonOf(error);
    throw new Error(`Failed to ${what}: ${reason}`, { cause: error });
  }
  server.on('error', () => undefined);
  return { close: () => void server.close() };
};

const serve = (
  socket: Socket,
  native: LoadNative | undefined,
  onConnection: OnConnection,
): Endpoint => {
  const connection = connector(native)(socket);
  onConnection(connection, socket);
  // What is queued, such as SHUTDOWN, is still sent.
  return { close: () => connection.end() };
};

/**
 * Connects to a UNIX socket and serves whoever listens there.
 *
 * @throws Error with the reason in plain words
 */
export const connectUnix = async (
  { path, native }: UnixOptions & { readonly path: string },
  onConnection: OnConnection,
): Promise<Endpoint> => {
  checkPath(path);
  try {
    return serve(await connectTo(path), native, onConnection);
  } catch (error) {
    throw new Error(`Failed to connect to '${path}': ${reasonOf(error)}`, { cause: error });
  }
};

/**
 * Serves the peer of an inherited descriptor that is connected already.
 *
 * @throws Error when the descriptor is no socket, or one that does not carry a stream
 */
export const adoptUnix = (
  { fd, native }: UnixOptions & { readonly fd: number },
  onConnection: OnConnection,
): Endpoint => {
  checkSocket(fd);
  // Without manualStart the socket reads at once; Node knows the option, its types do not.
  const options: SocketConstructorOpts & { manualStart: true } = {
    fd,
    allowHalfOpen: true,
    readable: true,
    writable: true,
    manualStart: true,
  };
  try {
    return serve(new Socket(options), native, onConnection);
  } catch (error) {
    throw new Error(`descriptor ${String(fd)} is no stream socket: ${reasonOf(error)}`, {
      cause: error,
    });
  }
};
