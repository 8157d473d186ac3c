import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { Connection } from '../transport/connection.js';
import { WebSocketConnection } from '../transport/websocket.js';
import { isTrusted } from './origin.js';

/** Finds who serves a machine's QMP; the only machine when no name is given. */
export type Lookup = (
  machine: string | undefined,
) => ((connection: Connection) => void) | undefined;

const PATH = /^\/(?:machines\/([^/?]+)\/)?qmp(?:\?.*)?$/;

/** Name of the machine in the path; null without a name, undefined for another path. */
const machineIn = (url: string): string | null | undefined => {
  const match = PATH.exec(url);
  if (match === null) return undefined;
  try {
    return match[1] === undefined ? null : decodeURIComponent(match[1]);
  } catch {
    // A broken % escape names no machine.
    return undefined;
  }
};

const refuse = (socket: Duplex, status: string, reason: string): void => {
  const body = `${reason}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\n` +
      `Content-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`,
    () => socket.destroy(),
  );
};

/** Turns upgrade requests into QMP clients. */
export class QmpUpgrades {
  readonly #lookup: Lookup;
  readonly #server: WebSocketServer;

  /** @param maxPayload bytes of one incoming message */
  constructor(lookup: Lookup, maxPayload: number) {
    this.#lookup = lookup;
    this.#server = new WebSocketServer({ noServer: true, maxPayload, perMessageDeflate: false });
  }

  /** Handles the event `upgrade` of an HTTP server. */
  readonly onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy());
    if (!isTrusted(request.headers.host, request.headers.origin)) {
      refuse(socket, '403 Forbidden', 'this host or origin may not connect');
      return;
    }
    const machine = machineIn(request.url ?? '');
    const accept = machine === undefined ? undefined : this.#lookup(machine ?? undefined);
    if (accept === undefined) {
      refuse(socket, '404 Not Found', 'no machine has this path');
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) =>
      accept(new WebSocketConnection(webSocket)),
    );
  };

  /** Cuts off whoever is still connected. */
  close(): void {
    for (const client of this.#server.clients) client.terminate();
    this.#server.close();
  }
}
