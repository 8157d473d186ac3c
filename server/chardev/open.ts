import type { CharEndpoint } from '../config.js';
import type { Connection } from '../transport/connection.js';
import type { LoadNative } from '../os/native.js';
import { openEndpoint } from '../transport/endpoint.js';
import { idleBackend, type CharBackend } from './backend.js';
import { ByteChannel } from './byte-channel.js';
import { endpointBackend } from './endpoint-backend.js';
import { close, type Chardev, type CharServices, type CharTable } from './table.js';

/** A character device that is open, and the first peer for `wait`. */
export interface Opened {
  readonly firstClient: Promise<void> | undefined;
  /** Path of the pseudo terminal, if it is one. */
  readonly terminal?: string;
}

/** Opens the far side; connections go to `accept`. @throws Error naming the endpoint and the reason */
const openBackend = async (
  id: string,
  endpoint: CharEndpoint,
  accept: (connection: Connection) => void,
  { native, log }: CharServices,
): Promise<Opened & { backend: CharBackend }> => {
  if (endpoint.kind === 'idle')
    return { backend: idleBackend(endpoint.backend), firstClient: undefined };
  if (endpoint.kind === 'pty') return openTerminal(native, accept);
  const opened = await openEndpoint(endpoint, {
    native,
    onConnection: accept,
    onTrouble: (reason) => log.warn({ chardev: id, reason }, 'unable to connect chardev'),
  });
  return { backend: endpointBackend(endpoint, opened), firstClient: opened.firstClient };
};

/** @throws Error with the reason */
const openTerminal = async (
  native: LoadNative,
  accept: (connection: Connection) => void,
): Promise<Opened & { backend: CharBackend }> => {
  const calls = native();
  if (calls === undefined)
    throw new Error('a pseudo terminal needs the optional package koffi, which is not available');
  const { TerminalConnection } = await import('../transport/terminal.js');
  const terminal = calls.openTerminal();
  const connection = new TerminalConnection(calls, terminal);
  accept(connection);
  const backend = {
    typeName: 'chardev-pty',
    filename: `pty:${terminal.path}`,
    properties: {},
    close: () => connection.destroy(),
  };
  return { backend, firstClient: undefined, terminal: terminal.path };
};

/**
 * Opens a character device that devices of the machine can claim, and enters it in the table.
 *
 * @throws Error naming the endpoint and the reason; nothing is left behind
 */
export const openChardev = async (
  table: CharTable,
  { id, endpoint }: { readonly id: string; readonly endpoint: CharEndpoint },
): Promise<Opened> => {
  const { limits, log } = table.services;
  const channel = new ByteChannel({
    log,
    unreadBytes: limits['chardev-bytes'],
    waiting: limits['chardev-waiting'],
    heldBytes: limits['chardev-held'],
  });
  table.checkFree(id);
  const accept = (connection: Connection): void => channel.accept(connection);
  const { backend, ...opened } = await openBackend(id, endpoint, accept, table.services);
  return enter(table, { id, backend, channel }, opened);
};

/**
 * Opens the character device of a monitor, which takes any number of connections.
 *
 * @param services in place of the table's
 * @throws Error naming the endpoint and the reason; nothing is left behind
 */
export const openMonitorChardev = async (
  table: CharTable,
  { id, endpoint }: { readonly id: string; readonly endpoint: CharEndpoint },
  accept: (connection: Connection) => void,
  services = table.services,
): Promise<Opened> => {
  table.checkFree(id);
  const { backend, ...opened } = await openBackend(id, endpoint, accept, services);
  return enter(table, { id, backend, channel: undefined }, opened);
};

const enter = async (table: CharTable, chardev: Chardev, opened: Opened): Promise<Opened> => {
  try {
    table.add(chardev);
  } catch (error) {
    await close(chardev);
    throw error;
  }
  return opened;
};
