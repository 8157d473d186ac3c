import type { MonitorEndpoint } from '../config.js';
import type { JsonObject } from '../../schema/json.js';
import type { LoadNative } from '../os/native.js';
import type { Connection } from './connection.js';
import { OpenSocket } from './open-socket.js';

export interface EndpointOptions {
  readonly native: LoadNative;
  readonly onConnection: (connection: Connection) => void;
  /** An endpoint that reconnects did not reach its peer, and will try again. */
  readonly onTrouble?: (reason: string) => void;
}
export interface OpenEndpoint {
  /** Accepts no more clients; removes the socket. Safe to call twice. */
  close(): void | Promise<void>;
  /** With `wait`: settles when the first client has come; never, if the endpoint closes before. */
  readonly firstClient?: Promise<void>;
  /** Whether anybody is connected. */
  readonly connected: boolean;
  /** As `query-chardev` shows it. */
  readonly filename: string;
  /** The SocketAddress listened at or connected to; undefined where there is none. */
  readonly address: JsonObject | undefined;
  /** Takes over a connected socket as one more client; absent where that cannot be. */
  readonly adopt?: (fd: number) => void;
  /** Closes all connections at once, and goes on as if the peers had gone; absent: of no socket. */
  readonly cut?: () => void;
}

/**
 * Opens an endpoint.
 *
 * @throws Error naming the endpoint and the reason
 */
export const openEndpoint = async (
  endpoint: MonitorEndpoint,
  options: EndpointOptions,
): Promise<OpenEndpoint> => {
  if (endpoint.kind === 'stdio') {
    const { stdioConnection } = await import('./stdio.js');
    const connection = stdioConnection();
    options.onConnection(connection);
    return {
      close: () => connection.end(),
      connected: true,
      filename: 'stdio',
      address: undefined,
    };
  }
  const opened = new OpenSocket(endpoint, options);
  await opened.open();
  return opened;
};
