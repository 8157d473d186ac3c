import type { Socket } from 'node:net';
import type { SocketEndpoint } from '../config.js';
import { boundPath } from '../os/bound-path.js';
import type { JsonObject } from '../../schema/json.js';
import type { Connection } from './connection.js';
import type { EndpointOptions, OpenEndpoint } from './endpoint.js';
import { descriptorOf } from './late-connection.js';
import { familyOf, hostPort } from './inet.js';
import { adoptUnix, connectUnix, listenUnix, type Endpoint } from './unix.js';

/** A socket that listens for clients, or the one that connects to its only client again and again. */
export class OpenSocket implements OpenEndpoint {
  readonly firstClient?: Promise<void>;
  readonly #endpoint: SocketEndpoint;
  readonly #options: EndpointOptions;
  readonly #connections = new Map<Socket, Connection>();
  readonly #adopted = new WeakSet<Socket>();
  #arrived: () => void = () => undefined;
  #open: Endpoint | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(endpoint: SocketEndpoint, options: EndpointOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    if ('wait' in endpoint && endpoint.wait)
      this.firstClient = new Promise((resolve) => (this.#arrived = resolve));
  }

  /** @throws Error naming the endpoint and the reason, unless it is to try again */
  async open(): Promise<void> {
    try {
      const opened = await this.#meet();
      this.#open = opened;
      if (this.#isClosed) opened.close();
    } catch (error) {
      if (this.#reconnectMs === 0) throw error;
      this.#options.onTrouble?.(error instanceof Error ? error.message : String(error));
      this.#tryAgain();
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#open?.close();
  }

  adopt(fd: number): void {
    adoptUnix({ fd, native: this.#options.native }, (connection, socket) => {
      this.#adopted.add(socket);
      this.#onConnection(connection, socket);
    });
  }

  cut(): void {
    for (const connection of [...this.#connections.values()]) connection.destroy();
  }

  get connected(): boolean {
    return this.#connections.size > 0;
  }

  /** As QEMU shows it: where it met the newest client, or where it waits for one. */
  get filename(): string {
    const server = this.#isListening ? ',server=on' : '';
    const socket = [...this.#connections.keys()].at(-1);
    if (socket === undefined) return `disconnected:${this.#written}${server}`;
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    if (localAddress === undefined) return `unix:${this.#localPath(socket)}${server}`;
    const here = hostPort({ host: localAddress, port: String(localPort) });
    const there = hostPort({ host: remoteAddress ?? '', port: String(remotePort) });
    return `tcp:${here}${server} <-> ${there}`;
  }

  get address(): JsonObject {
    const endpoint = this.#endpoint;
    switch (endpoint.kind) {
      case 'unix-listen':
      case 'unix-connect':
        return { path: endpoint.path, type: 'unix' };
      case 'unix-fd': {
        const path = endpoint.listening ? boundPath(endpoint.fd) : undefined;
        if (path !== undefined) return { path, type: 'unix' };
        return { str: String(endpoint.fd), type: 'fd' };
      }
      case 'tcp-listen':
      case 'tcp-connect': {
        const { host, port } = this.#open?.address ?? endpoint;
        const family = familyOf(host);
        return { host, port, ...(family !== undefined && { [family]: true }), type: 'inet' };
      }
    }
  }

  get #isListening(): boolean {
    const { kind } = this.#endpoint;
    return this.#endpoint.kind === 'unix-fd' ? this.#endpoint.listening : kind.endsWith('listen');
  }

  get #reconnectMs(): number {
    return ('reconnectMs' in this.#endpoint ? this.#endpoint.reconnectMs : undefined) ?? 0;
  }

  get #written(): string {
    const { path, str, host, port } = this.address;
    if (typeof path === 'string') return `unix:${path}`;
    return typeof str === 'string' ? `fd:${str}` : `tcp:${String(host)}:${String(port)}`;
  }

  #localPath(socket: Socket): string {
    const endpoint = this.#endpoint;
    const isOurs = !this.#adopted.has(socket);
    if (endpoint.kind === 'unix-listen' && isOurs) return endpoint.path;
    const fd = endpoint.kind === 'unix-fd' && isOurs ? endpoint.fd : descriptorOf(socket);
    return (fd === undefined ? undefined : boundPath(fd)) ?? '';
  }

  readonly #onConnection = (connection: Connection, socket: Socket): void => {
    this.#connections.set(socket, connection);
    socket.once('close', () => {
      this.#connections.delete(socket);
      if (!this.#isListening) this.#tryAgain();
    });
    this.#options.onConnection(connection);
    this.#arrived();
  };

  async #meet(): Promise<Endpoint> {
    const endpoint = this.#endpoint;
    const { native } = this.#options;
    const onConnection = this.#onConnection;
    switch (endpoint.kind) {
      case 'unix-listen':
        return listenUnix({ path: endpoint.path, native, onConnection });
      case 'unix-connect':
        return connectUnix({ path: endpoint.path, native }, onConnection);
      case 'unix-fd':
        return endpoint.listening
          ? listenUnix({ fd: endpoint.fd, native, onConnection })
          : adoptUnix({ fd: endpoint.fd, native }, onConnection);
      case 'tcp-listen':
        return (await import('./tcp.js')).listenTcp(endpoint, onConnection);
      case 'tcp-connect':
        return (await import('./tcp.js')).connectTcp(endpoint, onConnection);
    }
  }

  #tryAgain(): void {
    if (this.#reconnectMs === 0 || this.#isClosed) return;
    this.#retry = setTimeout(() => void this.open(), this.#reconnectMs);
  }
}
