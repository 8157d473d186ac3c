import { once } from 'node:events';
import { closeSync, renameSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
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

/** A socket that listens at `path`, as a descriptor that belongs to the caller. */
export const listeningDescriptor = async (path: string): Promise<number> => {
  const server = createServer().listen(path);
  await once(server, 'listening');
  const handle: unknown = Reflect.get(server, '_handle');
  const fd: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : -1;
  const copies: number[] = [];
  if (native === undefined || typeof fd !== 'number') throw new Error('no native layer');
  // Node shares no descriptor of its own; one that has been sent is another one.
  const [here, there] = native.socketpair();
  native.sendmsg(here, Buffer.of(0), [fd]);
  native.recvmsg(there, Buffer.alloc(1), copies);
  for (const end of [here, there]) closeSync(end);
  // Closing removes the path, which has to stay.
  renameSync(path, `${path}.kept`);
  server.close();
  renameSync(`${path}.kept`, path);
  const [copy] = copies;
  if (copy === undefined) throw new Error('no descriptor came');
  return copy;
};
