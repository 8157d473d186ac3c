import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { LoadNative } from '../os/native.js';
import { connectTcp, listenTcp } from '../transport/tcp.js';
import { connectUnix, listenUnix, type Endpoint } from '../transport/unix.js';
import type { Address } from './address.js';
import { descriptorInput, descriptorOutlet, fileInput } from './descriptor.js';
import { FileOutlet, SocketOutlet, type Outlet } from './outlet.js';

/** An address whose descriptor, if it has one, was taken from the monitor. */
export type Opened =
  Exclude<Address, { kind: 'fd' }> | { readonly kind: 'fd'; readonly fd: number };

/**
 * The way of an outgoing migration.
 *
 * @param signal gives up a connection that is not made yet
 * @throws Error with a sentence
 */
export const openOutlet = async (
  address: Opened,
  loadNative: LoadNative,
  signal: AbortSignal,
): Promise<Outlet> => {
  switch (address.kind) {
    case 'file':
      return FileOutlet.create(address.path, loadNative);
    case 'fd':
      return descriptorOutlet(address.fd, loadNative);
    case 'unix':
    case 'tcp':
      return new SocketOutlet(await connected(address, signal));
  }
};

const connected = async (
  address: Opened & { kind: 'unix' | 'tcp' },
  signal: AbortSignal,
): Promise<Socket> => {
  const sockets: Socket[] = [];
  const take = (_connection: unknown, socket: Socket): void => void sockets.push(socket);
  if (address.kind === 'unix') await connectUnix({ path: address.path }, take);
  else await connectTcp(address, take, signal);
  const [socket] = sockets;
  if (socket === undefined) throw new Error('the connection was closed');
  return socket;
};

/** What listens for an incoming migration, or reads it. */
export interface Inlet {
  /** Where others connect to, if they do. */
  readonly address:
    | { readonly type: 'unix'; readonly path: string }
    | { readonly type: 'inet'; readonly host: string; readonly port: string }
    | undefined;
  /** Accepts no more; the path of a socket is removed. Safe to call twice. */
  close(): void;
}

/**
 * Waits for an incoming migration; `onInput` gets each connection, or the file.
 *
 * @throws Error with a sentence
 */
export const openInlet = async (
  address: Opened,
  loadNative: LoadNative,
  onInput: (input: Readable) => void,
): Promise<Inlet> => {
  switch (address.kind) {
    case 'unix': {
      const { path } = address;
      const endpoint = await listenUnix({ path, onConnection: (_, socket) => onInput(socket) });
      return listening(endpoint, { type: 'unix', path });
    }
    case 'tcp': {
      const endpoint = await listenTcp(address, (_, socket) => onInput(socket));
      const { host = address.host, port = address.port } = endpoint.address ?? {};
      return listening(endpoint, { type: 'inet', host, port });
    }
    case 'file':
      onInput(await fileInput(address.path));
      return { address: undefined, close: () => undefined };
    case 'fd':
      onInput(descriptorInput(address.fd, loadNative));
      return { address: undefined, close: () => undefined };
  }
};

const listening = (endpoint: Endpoint, address: NonNullable<Inlet['address']>): Inlet => ({
  address,
  close: () => endpoint.close(),
});
