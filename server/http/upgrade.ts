import { ServerResponse, STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { ResumeRequest } from '../events/resume.js';
import type { Connection } from '../transport/connection.js';
import { WebSocketConnection } from '../transport/websocket.js';
import type { Access } from './access.js';
import { BadQuery, readFeedQuery } from './feed-query.js';

/** Finds who serves a machine's QMP; the only machine when no name is given. */
export type Lookup = (
  machine: string | undefined,
) => ((connection: Connection) => void) | undefined;

/** The same for its events. */
export type FeedLookup = (
  machine: string | undefined,
) => ((connection: Connection, request: ResumeRequest) => void) | undefined;

export interface UpgradesOptions {
  readonly access: Access;
  readonly lookup: Lookup;
  readonly feeds: FeedLookup;
  /** Answers what is no upgrade. */
  readonly pages: (request: IncomingMessage, response: ServerResponse) => void;
  /** Bytes of one incoming message of a QMP client. */
  readonly maxPayload: number;
}

interface Target {
  /** Undefined: the only one. */
  readonly machine: string | undefined;
  readonly endpoint: string;
  readonly query: URLSearchParams;
}

const PATH = /^\/(?:machines\/([^/?]+)\/)?(qmp|events)(?:\?(.*))?$/;
const DEFAULT_PORTION = 65_536;

/** What a path means; undefined for another path. */
const targetOf = (url: string): Target | undefined => {
  const match = PATH.exec(url);
  if (match === null) return undefined;
  const [, name, endpoint = '', query = ''] = match;
  try {
    const machine = name === undefined ? undefined : decodeURIComponent(name);
    return { machine, endpoint, query: new URLSearchParams(query) };
  } catch {
    // A broken % escape names no machine.
    return undefined;
  }
};

/** Why nobody serves a path. */
const notFound = (target: Target | undefined): string =>
  target === undefined || target.machine !== undefined
    ? 'no machine has this path'
    : `more than one machine, or none: connect to /machines/NAME/${target.endpoint}`;

const refuse = (socket: Duplex, status: number, reason: string): void => {
  const body = `${JSON.stringify({ error: reason })}\n`;
  const challenge = status === 401 ? 'WWW-Authenticate: Bearer\r\n' : '';
  socket.end(
    `HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\n${challenge}` +
      `Content-Type: application/json\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`,
    () => socket.destroy(),
  );
};

/** Turns upgrade requests into clients of QMP and of the events endpoint. */
export class Upgrades {
  readonly #options: UpgradesOptions;
  readonly #server: WebSocketServer;
  /** Clients of the events endpoint have nothing to say. */
  readonly #feedServer: WebSocketServer;

  constructor(options: UpgradesOptions) {
    this.#options = options;
    const { maxPayload } = options;
    this.#server = new WebSocketServer({ noServer: true, maxPayload, perMessageDeflate: false });
    this.#feedServer = new WebSocketServer({
      noServer: true,
      maxPayload: Math.min(maxPayload, DEFAULT_PORTION),
      perMessageDeflate: false,
    });
  }

  /** Handles the event `upgrade` of an HTTP server. */
  readonly onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy());
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
      this.#stay(request, socket as Socket);
      return;
    }
    const target = targetOf(request.url ?? '');
    const { access } = this.#options;
    const refusal = access.checkUpgrade(request, target?.query ?? new URLSearchParams());
    if (refusal !== undefined) {
      refuse(socket, refusal.status, refusal.reason);
      return;
    }
    let accept: ((connection: Connection) => void) | undefined;
    try {
      accept = target === undefined ? undefined : this.#find(target);
    } catch (error) {
      if (!(error instanceof BadQuery)) throw error;
      refuse(socket, 400, error.message);
      return;
    }
    if (accept === undefined) {
      refuse(socket, 404, notFound(target));
      return;
    }
    const serve = accept;
    const server = target?.endpoint === 'events' ? this.#feedServer : this.#server;
    server.handleUpgrade(request, socket, head, (webSocket) =>
      serve(new WebSocketConnection(webSocket, socket)),
    );
  };

  /** Another protocol, such as h2c: the answer goes on in HTTP/1.1 (RFC 9110 §7.8). */
  #stay(request: IncomingMessage, socket: Socket): void {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.on('finish', () => {
      response.detachSocket(socket);
      socket.end(() => socket.destroy());
    });
    this.#options.pages(request, response);
  }

  /** Cuts off whoever is still connected. */
  close(): void {
    for (const server of [this.#server, this.#feedServer]) {
      for (const client of server.clients) client.terminate();
      server.close();
    }
  }

  /** @throws BadQuery */
  #find({ machine, endpoint, query }: Target): ((connection: Connection) => void) | undefined {
    if (endpoint === 'qmp') return this.#options.lookup(machine);
    const feed = this.#options.feeds(machine);
    if (feed === undefined) return undefined;
    const request = readFeedQuery(query);
    return (connection) => feed(connection, request);
  }
}
