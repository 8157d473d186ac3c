import { statSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { isJsonObject } from '../schema/json.js';
import { parseJson } from './json.js';

/** Text to and from a server, whatever carries it. */
export interface Channel {
  send(text: string): void;
  close(): void;
}
export interface ChannelHandlers {
  onText(text: string): void;
  /** Called once: the peer is gone. `reason` when it was not in order. */
  onClose(reason: string | undefined): void;
}

export interface ChannelOptions {
  /** Bearer token, sent over WebSocket only. */
  readonly token?: string | undefined;
  /** Ends the connection, or the wait for it. */
  readonly signal?: AbortSignal;
}

/** Nobody was reached: the reason in words, and its code. */
export class ChannelError extends Error {
  override readonly name = 'ChannelError';
  readonly code: string | undefined;
  constructor(message: string, code: string | undefined, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Room for a path in a socket address; Node would silently cut a longer one. */
const MAX_PATH = 107;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'permission denied',
  ENOTSOCK: 'not a socket',
  ENOTFOUND: 'no such host',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection closed',
  EAGAIN: 'too many clients wait for it already',
};
const codeOf = (error: Error): string | undefined => (error as NodeJS.ErrnoException).code;
/** Why there is no connection, in words. */
export const reasonOf = (error: Error): string => {
  const code = codeOf(error) ?? '';
  return REASONS[code] ?? (error.message === '' ? code : error.message);
};

const failureOf = (error: Error, reason = reasonOf(error)): ChannelError =>
  new ChannelError(reason, codeOf(error), { cause: error });

/** What lies at a path where nobody can listen; undefined: a socket, or nothing. */
const inTheWay = (path: string): string | undefined => {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined || found.isSocket()) return undefined;
  return found.isDirectory() ? 'a directory, not a socket' : 'not a socket';
};
/** Why nobody was reached at a path; the kernel refuses a file as it does a socket without a server. */
const pathFailureOf = (error: Error, path: string): ChannelError => {
  const reason = codeOf(error) === 'ECONNREFUSED' ? inTheWay(path) : undefined;
  return reason === undefined ? failureOf(error) : new ChannelError(reason, 'ENOTSOCK');
};

export const isWebSocketUrl = (address: string): boolean => /^wss?:\/\//.test(address);

/** `HOST:PORT` or `[ADDRESS]:PORT`; whatever has a slash is a path. */
const TCP = /^(?:\[([0-9a-fA-F:.]+)\]|([^/:[\]]+)):([0-9]{1,5})$/;

/** Whether the address is HOST:PORT. */
export const isPort = (address: string): boolean => TCP.test(address);

/**
 * Connects to the path of a UNIX socket, to HOST:PORT, or to a `ws://` URL.
 *
 * @throws Error, most often a ChannelError, with the reason in words
 */
export const openChannel = (
  address: string,
  handlers: ChannelHandlers,
  options: ChannelOptions = {},
): Promise<Channel> =>
  isWebSocketUrl(address)
    ? openWebSocket(address, handlers, options)
    : openSocket(address, handlers, options);

const INTERRUPTED = 'interrupted';

/** Runs `end` when the signal comes. @returns what to call once there is nothing to end */
const onAbort = (signal: AbortSignal | undefined, end: () => void): (() => void) => {
  signal?.addEventListener('abort', end);
  return () => signal?.removeEventListener('abort', end);
};

const checkPath = (path: string): void => {
  if (/^[a-z]+:\/\//i.test(path)) throw new Error('a URL must begin with ws:// or wss://');
  if (Buffer.byteLength(path) > MAX_PATH)
    throw new Error(`the path of a socket cannot be longer than ${String(MAX_PATH)} bytes`);
};

const open = (address: string): Socket => {
  const [, ip, host = ip, port] = TCP.exec(address) ?? [];
  if (host !== undefined) return connect({ host, port: Number(port) });
  checkPath(address);
  return connect(address);
};

const openSocket = (
  address: string,
  handlers: ChannelHandlers,
  { signal }: ChannelOptions,
): Promise<Channel> =>
  new Promise((resolve, reject) => {
    const socket = open(address).setEncoding('utf8');
    let failure: Error | undefined;
    const forget = onAbort(signal, () => socket.destroy(new Error(INTERRUPTED)));
    socket.on('error', (error) => {
      failure = error;
      reject(isPort(address) ? failureOf(error) : pathFailureOf(error, address));
    });
    socket.on('data', (text: string) => handlers.onText(text));
    socket.on('close', () => {
      forget();
      handlers.onClose(failure && reasonOf(failure));
    });
    socket.on('connect', () =>
      resolve({ send: (text) => void socket.write(text), close: () => void socket.destroy() }),
    );
  });

/** Characters of a refusal's page that are worth reading. */
const MAX_REFUSAL = 4096;
const REFUSAL_TIMEOUT_MS = 2000;

/** What an HTTP server says that will not talk WebSocket: status, and the `error` of a JSON page. */
const refusalOf = async (response: IncomingMessage): Promise<string> => {
  let text = '';
  response.setTimeout(REFUSAL_TIMEOUT_MS, () => response.destroy());
  try {
    for await (const chunk of response.setEncoding('utf8')) {
      text += String(chunk);
      if (text.length > MAX_REFUSAL) break;
    }
    const page = parseJson(text);
    const reason = isJsonObject(page) ? page['error'] : undefined;
    if (typeof reason === 'string') return `${reason} (${String(response.statusCode)})`;
  } catch {
    // Not a page of ours, or cut short: the status says enough.
  }
  return `the server answers ${String(response.statusCode)} ${response.statusMessage ?? ''}`.trim();
};

const openWebSocket = async (
  url: string,
  handlers: ChannelHandlers,
  { token, signal }: ChannelOptions,
): Promise<Channel> => {
  // Loaded here: whoever uses a UNIX socket need not pay for it.
  const { WebSocket } = await import('ws');
  if (signal?.aborted === true) throw new Error(INTERRUPTED);
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, {
      perMessageDeflate: false,
      followRedirects: false,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
    let failure: Error | undefined;
    const forget = onAbort(signal, () => socket.terminate());
    socket.on('error', (error) => {
      failure = error;
      reject(failureOf(error));
    });
    socket.on('unexpected-response', (request, response) => {
      void refusalOf(response).then((reason) => {
        forget();
        reject(new ChannelError(reason, `HTTP ${String(response.statusCode)}`));
        request.destroy();
      });
    });
    socket.on('message', (data: Buffer) => handlers.onText(data.toString('utf8')));
    socket.on('close', () => {
      forget();
      handlers.onClose(failure && reasonOf(failure));
    });
    socket.on('open', () =>
      resolve({ send: (text) => socket.send(text), close: () => socket.terminate() }),
    );
  });
};
