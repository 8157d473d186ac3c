import { lookup } from 'node:dns/promises';
import { connect, createServer, isIP, type AddressInfo, type Server, type Socket } from 'node:net';
import type { InetAddress } from '../config.js';
import type { Connection } from './connection.js';
import { codeOf, reasonOf } from './reason.js';
import { StreamConnection } from './stream-connection.js';
import type { Endpoint, OnConnection } from './unix.js';

const MAX_PORT = 65_535;

const unresolved = ({ host, port }: InetAddress, reason: string, cause?: unknown): Error =>
  new Error(`address resolution failed for ${host}:${port}: ${reason}`, { cause });

const LOOKUP_REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'Name or service not known',
  EAI_AGAIN: 'Temporary failure in name resolution',
};

/** 4, 6 or 0 for either. @throws Error */
const wantedFamily = ({ ipv4, ipv6 }: InetAddress): 0 | 4 | 6 => {
  if (ipv4 === false && ipv6 === false)
    throw new Error('Cannot disable IPv4 and IPv6 at same time');
  if (ipv4 === ipv6) return 0;
  if (ipv4 === true || ipv6 === false) return 4;
  return 6;
};

const resolve = async (where: InetAddress): Promise<string[]> => {
  const { host } = where;
  const family = wantedFamily(where);
  if (!/^[0-9]{1,5}$/.test(where.port) || Number(where.port) > MAX_PORT)
    throw unresolved(where, 'Servname not supported for ai_socktype');
  if (host === '') return [family === 6 ? '::' : '0.0.0.0'];
  const numeric = isIP(host);
  if (numeric !== 0 && family !== 0 && numeric !== family)
    throw unresolved(where, 'Address family for hostname not supported');
  if (numeric !== 0) return [host];
  try {
    return (await lookup(host, { family, all: true })).map(({ address }) => address);
  } catch (error) {
    throw unresolved(where, LOOKUP_REASONS[codeOf(error)] ?? reasonOf(error), error);
  }
};

const connectionOf = (socket: Socket): Connection => {
  socket.on('error', () => socket.destroy());
  // A reply should not wait for the acknowledgement of the one before it.
  socket.setNoDelay(true);
  const destroy = (): unknown => socket.destroy();
  return new StreamConnection({ kind: 'tcp', input: socket, output: socket, destroy });
};

const listenAt = (server: Server, host: string, port: number): Promise<void> =>
  new Promise((done, fail) => {
    server.once('error', fail);
    server.listen({ host, port, ipv6Only: isIP(host) === 6 && host !== '::' }, () => {
      server.off('error', fail);
      done();
    });
  });

/** Tries every address with every port until one is free. */
const listenSomewhere = async (server: Server, where: InetAddress): Promise<void> => {
  const addresses = await resolve(where);
  const first = Number(where.port);
  let failure: unknown;
  for (const address of addresses)
    for (let port = first; port <= Math.min(where.to ?? first, MAX_PORT); port++)
      try {
        await listenAt(server, address, port);
        return;
      } catch (error) {
        failure = error;
        if (codeOf(error) !== 'EADDRINUSE') break;
      }
  const what =
    codeOf(failure) === 'EADDRINUSE' ? 'Failed to find an available port' : 'Failed to bind socket';
  throw new Error(`${what}: ${reasonOf(failure)}`, { cause: failure });
};

/**
 * Listens on a TCP port.
 *
 * @throws Error with the reason in plain words: name unknown, port in use
 */
export const listenTcp = async (
  where: InetAddress,
  onConnection: OnConnection,
): Promise<Endpoint> => {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
    onConnection(connectionOf(socket), socket),
  );
  await listenSomewhere(server, where);
  server.on('error', () => undefined);
  const { address, port } = server.address() as AddressInfo;
  return { close: () => void server.close(), address: { host: address, port: String(port) } };
};

const connectTo = (host: string, port: number, signal: AbortSignal | undefined): Promise<Socket> =>
  new Promise((done, fail) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    const giveUp = (): unknown => socket.destroy(new Error('it was given up'));
    signal?.addEventListener('abort', giveUp);
    // Whoever takes the socket over decides how it is read.
    socket.pause();
    socket.once('error', fail);
    socket.once('close', () => signal?.removeEventListener('abort', giveUp));
    socket.once('connect', () => {
      signal?.removeEventListener('abort', giveUp);
      socket.off('error', fail);
      done(socket);
    });
    if (signal?.aborted === true) giveUp();
  });

/**
 * Connects to a TCP port and serves whoever listens there.
 *
 * @param signal gives up: a host that does not answer lets one wait for minutes
 * @throws Error with the reason in plain words
 */
export const connectTcp = async (
  where: InetAddress,
  onConnection: OnConnection,
  signal?: AbortSignal,
): Promise<Endpoint> => {
  let failure: unknown;
  for (const address of await resolve(where))
    try {
      const socket = await connectTo(address, Number(where.port), signal);
      const connection = connectionOf(socket);
      onConnection(connection, socket);
      return { close: () => connection.end() };
    } catch (error) {
      failure = error;
    }
  const reason = reasonOf(failure);
  throw new Error(`Failed to connect to '${where.host}:${where.port}': ${reason}`, {
    cause: failure,
  });
};
