import { connect } from 'node:net';

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
const reasonOf = (error: Error): string => {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return REASONS[code] ?? (error.message === '' ? code : error.message);
};

export const isWebSocketUrl = (address: string): boolean => /^wss?:\/\//.test(address);

/**
 * Connects to the path of a UNIX socket or to a `ws://` URL.
 *
 * @throws Error with the reason in words
 */
export const openChannel = (address: string, handlers: ChannelHandlers): Promise<Channel> =>
  isWebSocketUrl(address) ? openWebSocket(address, handlers) : openUnix(address, handlers);

const checkPath = (path: string): void => {
  if (/^[a-z]+:\/\//i.test(path)) throw new Error('a URL must begin with ws:// or wss://');
  if (Buffer.byteLength(path) > MAX_PATH)
    throw new Error(`the path of a socket cannot be longer than ${String(MAX_PATH)} bytes`);
};

const openUnix = (path: string, handlers: ChannelHandlers): Promise<Channel> =>
  new Promise((resolve, reject) => {
    checkPath(path);
    const socket = connect(path).setEncoding('utf8');
    let failure: Error | undefined;
    socket.on('error', (error) => {
      failure = error;
      reject(new Error(reasonOf(error), { cause: error }));
    });
    socket.on('data', (text: string) => handlers.onText(text));
    socket.on('close', () => handlers.onClose(failure && reasonOf(failure)));
    socket.on('connect', () =>
      resolve({ send: (text) => void socket.write(text), close: () => void socket.destroy() }),
    );
  });

const openWebSocket = async (url: string, handlers: ChannelHandlers): Promise<Channel> => {
  // Loaded here: whoever uses a UNIX socket need not pay for it.
  const { WebSocket } = await import('ws');
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false, followRedirects: false });
    let failure: Error | undefined;
    socket.on('error', (error) => {
      failure = error;
      reject(new Error(reasonOf(error), { cause: error }));
    });
    socket.on('message', (data: Buffer) => handlers.onText(data.toString('utf8')));
    socket.on('close', () => handlers.onClose(failure && reasonOf(failure)));
    socket.on('open', () =>
      resolve({ send: (text) => socket.send(text), close: () => socket.terminate() }),
    );
  });
};
