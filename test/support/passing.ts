import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { NativeLoader } from '../../server/os/native.js';
import type { Native } from '../../server/os/native.js';
import { descriptorOf } from '../../server/transport/late-connection.js';
import type { Cleanup } from './daemon.js';

/** The native layer of the tests, or undefined where there is none. */
export const native: Native | undefined = new NativeLoader().load();

/** A client that passes descriptors; lines are read one by one. */
export class PassingClient {
  readonly #socket: Socket;
  #text = '';
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => (this.#text += bytes.toString()));
    socket.on('close', () => (this.#isClosed = true));
    socket.on('error', () => undefined);
  }

  /** Past negotiation. */
  static async connect(t: Cleanup, path: string): Promise<PassingClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    t.teardown(() => socket.destroy());
    const client = new PassingClient(socket);
    await client.#line();
    await client.run('qmp_capabilities');
    return client;
  }

  /** Bytes with descriptors, in one message. */
  send(text: string, fds: readonly number[] = []): void {
    const fd = descriptorOf(this.#socket) ?? -1;
    const sent = native?.sendmsg(fd, Buffer.from(text), fds);
    if (sent !== text.length) throw new Error(`sent ${String(sent)} of ${String(text.length)}`);
  }

  /** @returns what `return` holds, or `CLASS: desc` */
  async run(command: string, args: object = {}, fds: readonly number[] = []): Promise<unknown> {
    this.send(JSON.stringify({ execute: command, arguments: args }), fds);
    return this.reply();
  }

  /** The next reply; events are passed over. */
  async reply(): Promise<unknown> {
    for (;;) {
      const message = JSON.parse(await this.#line()) as {
        return?: unknown;
        error?: { class: string; desc: string };
      };
      if (message.error !== undefined) return `${message.error.class}: ${message.error.desc}`;
      if ('return' in message) return message.return;
    }
  }

  /** Ends the connection and waits for it. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    const closed = once(this.#socket, 'close');
    this.#socket.destroy();
    await closed;
  }

  async #line(): Promise<string> {
    for (let tries = 0; ; tries++) {
      const end = this.#text.indexOf('\r\n');
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return line;
      }
      if (this.#isClosed || tries === 2000) throw new Error('no line came');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
