import type { MonitorEndpoint } from '../config.js';
import type { LoadNative } from '../os/native.js';
import type { Connection } from './connection.js';
import { adoptUnix, connectUnix, listenUnix } from './unix.js';

export interface EndpointOptions {
  readonly native: LoadNative;
  readonly onConnection: (connection: Connection) => void;
}
export interface OpenEndpoint {
  /** Accepts no more clients; removes the socket. Safe to call twice. */
  close(): void | Promise<void>;
  /** With `wait`: settles when the first client has come; never, if the endpoint closes before. */
  readonly firstClient?: Promise<void>;
}

/**
 * Opens the endpoint of a monitor.
 *
 * @throws Error naming the endpoint and the reason
 */
export const openEndpoint = async (
  endpoint: MonitorEndpoint,
  { native, onConnection }: EndpointOptions,
): Promise<OpenEndpoint> => {
  switch (endpoint.kind) {
    case 'unix-listen':
      return listen(endpoint, native, onConnection);
    case 'unix-connect':
      return connectUnix({ path: endpoint.path, native }, onConnection);
    case 'unix-fd':
      return endpoint.listening
        ? listenUnix({ fd: endpoint.fd, native, onConnection })
        : adoptUnix({ fd: endpoint.fd, native }, onConnection);
    case 'stdio': {
      const { stdioConnection } = await import('./stdio.js');
      const connection = stdioConnection();
      onConnection(connection);
      return { close: () => connection.end() };
    }
  }
};

const listen = async (
  { path, wait }: MonitorEndpoint & { kind: 'unix-listen' },
  native: LoadNative,
  onConnection: (connection: Connection) => void,
): Promise<OpenEndpoint> => {
  let arrived: () => void = () => undefined;
  const first = new Promise<void>((resolve) => (arrived = resolve));
  const server = await listenUnix({
    path,
    native,
    onConnection: (connection) => {
      onConnection(connection);
      arrived();
    },
  });
  return wait ? { ...server, firstClient: first } : server;
};
