import type { InetAddress, SocketEndpoint } from '../config.js';

/** A socket as `-chardev` and `chardev-add` describe it. */
export interface SocketSettings {
  readonly address:
    | { readonly type: 'unix'; readonly path: string }
    | { readonly type: 'fd'; readonly fd: number }
    | ({ readonly type: 'inet' } & InetAddress);
  readonly server: boolean;
  /** Of a server: hold the start until somebody has come. */
  readonly wait: boolean | undefined;
  /** Of a client: pause before each new attempt; 0 or undefined: none. */
  readonly reconnectMs: number | undefined;
}

/** @throws Error with QEMU's words for what does not go together */
export const socketEndpoint = (settings: SocketSettings): SocketEndpoint => {
  const { address, server, wait, reconnectMs = 0 } = settings;
  if (address.type === 'fd' && reconnectMs > 0)
    throw new Error("'reconnect' option is incompatible with 'fd' address type");
  if (server && reconnectMs > 0)
    throw new Error("'reconnect' option is incompatible with socket in server listen mode");
  if (!server && wait !== undefined)
    throw new Error("'wait' option is incompatible with socket in client connect mode");
  switch (address.type) {
    case 'fd':
      return { kind: 'unix-fd', fd: address.fd, listening: server, wait: server && (wait ?? true) };
    case 'unix':
      return server
        ? { kind: 'unix-listen', path: address.path, wait: wait ?? true }
        : { kind: 'unix-connect', path: address.path, ...(reconnectMs > 0 && { reconnectMs }) };
    case 'inet': {
      const { type: _, ...where } = address;
      return server
        ? { kind: 'tcp-listen', ...where, wait: wait ?? true }
        : { kind: 'tcp-connect', ...where, ...(reconnectMs > 0 && { reconnectMs }) };
    }
  }
};
