import { once } from 'node:events';
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import type { Mode, Row } from './rows.js';

/** One connection of a test to a server, whoever that is. */
export interface Peer {
  /** Sends bytes as one write or frame. */
  send(bytes: Buffer): void;
  /** The next line or text message. */
  line(): Promise<string>;
  /** No more input: the lines that are left, once everything has been answered. */
  finish(): Promise<string[]>;
}
export type Connect = () => Promise<Peer>;

interface Waiter {
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}

/** Lines as they come, for whoever waits for them. */
class Lines {
  readonly #lines: string[] = [];
  readonly #waiting: Waiter[] = [];
  #isOver = false;

  push(line: string): void {
    const waiter = this.#waiting.shift();
    if (waiter === undefined) this.#lines.push(line);
    else waiter.resolve(line);
  }

  /** No more lines come: whoever waits for one waits in vain. */
  end(): void {
    this.#isOver = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the connection is closed'));
  }

  next(): Promise<string> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.#isOver) return Promise.reject(new Error('the connection is closed'));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  rest(): string[] {
    return this.#lines.splice(0);
  }
}

const SENTINEL = '{"execute":"query-name","id":"sentinel"}';

/** Sends a forced resync and one more request; the lines before the answers to these. */
const upToSentinel = async (lines: Lines, send: (bytes: Buffer) => void): Promise<string[]> => {
  send(Buffer.concat([Buffer.from([0xff]), Buffer.from(SENTINEL)]));
  const all: string[] = [];
  for (let line = await lines.next(); !line.includes('"sentinel"'); line = await lines.next())
    all.push(line);
  return all.slice(0, -1);
};

/**
 * Connects to a UNIX socket; lines must end in CR LF.
 *
 * @param ending how `finish` ends the input; QEMU drops queued requests at a half-close
 */
export const unixPeer = async (
  path: string,
  ending: 'half-close' | 'resync' = 'half-close',
): Promise<Peer> => {
  const socket = connect({ path, allowHalfOpen: true });
  const lines = new Lines();
  let rest = '';
  socket.on('data', (bytes: Buffer) => {
    const parts = (rest + bytes.toString('latin1')).split('\r\n');
    rest = parts.pop() ?? '';
    for (const part of parts) lines.push(part);
  });
  // A server that resets shows in the lines that are missing.
  socket.on('error', () => undefined);
  // Not once(): that rejects at a reset, which real QEMU may send behind its last answer.
  const closed = new Promise<void>((resolve) =>
    socket.once('close', () => {
      lines.end();
      resolve();
    }),
  );
  await once(socket, 'connect');
  return {
    send: (bytes) => void socket.write(bytes),
    line: () => lines.next(),
    finish: async () => {
      const resynced =
        ending === 'resync' ? await upToSentinel(lines, (bytes) => socket.write(bytes)) : [];
      socket.end();
      await closed;
      if (rest !== '') throw new Error(`half a line: ${rest}`);
      return [...resynced, ...lines.rest()];
    },
  };
};

/** Connects to a WebSocket. There is no half-close, so a forced resync ends the input. */
export const webSocketPeer = async (url: string): Promise<Peer> => {
  const socket = new WebSocket(url);
  const lines = new Lines();
  socket.on('message', (data, isBinary) => {
    if (isBinary || !Buffer.isBuffer(data)) throw new Error('not a text frame');
    lines.push(data.toString('utf8'));
  });
  await once(socket, 'open');
  const finish = async (): Promise<string[]> => {
    const all = await upToSentinel(lines, (bytes) => socket.send(bytes));
    socket.close();
    await once(socket, 'close');
    return all;
  };
  return { send: (bytes) => socket.send(bytes), line: () => lines.next(), finish };
};

const NEGOTIATION: Readonly<Record<Mode, string | undefined>> = {
  command: '{"execute":"qmp_capabilities"}',
  oob: '{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}',
  negotiation: undefined,
};

/** Sends a row's input, cut up by `cut`, and returns what came back. */
export const play = async (
  connectTo: Connect,
  { mode, input }: Row,
  cut: (input: Buffer) => Buffer[],
): Promise<string[]> => {
  const peer = await connectTo();
  await peer.line();
  const negotiation = NEGOTIATION[mode];
  if (negotiation !== undefined) {
    peer.send(Buffer.from(negotiation));
    await peer.line();
  }
  for (const part of cut(input)) peer.send(part);
  return peer.finish();
};

export const whole = (input: Buffer): Buffer[] => [input];
export const singly = (input: Buffer): Buffer[] => [...input].map((byte) => Buffer.from([byte]));
/** Pieces of 1 to 7 bytes, the same for the same seed. */
export const pieces =
  (seed: number) =>
  (input: Buffer): Buffer[] => {
    const parts: Buffer[] = [];
    let state = seed;
    for (let at = 0; at < input.length;) {
      state = (state * 1103 + 12345) % 65536;
      const len = 1 + (state % 7);
      parts.push(input.subarray(at, at + len));
      at += len;
    }
    return parts;
  };
