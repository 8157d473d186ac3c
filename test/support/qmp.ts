import { once } from 'node:events';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { readJson, writeJson, type Json } from '../side-by-side/client.js';

export interface QmpEvent {
  readonly event: string;
  readonly data?: Record<string, Json>;
  readonly seq?: bigint;
}
type Message = Record<string, Json>;

/** An error reply. */
export class QmpFailure extends Error {
  readonly class: string;
  constructor(errorClass: string, desc: string) {
    super(desc);
    this.class = errorClass;
  }
}

/** A QMP client for tests: one command at a time, events kept in order of arrival. */
export class Qmp {
  /** Names of events, and `return` or `error` for replies, as they came. */
  readonly order: string[] = [];
  readonly #socket: Socket;
  #partial = '';
  #replies: Message[] = [];
  #events: QmpEvent[] = [];
  #closed = false;
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#receive(text));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  static async connect(where: string | NetConnectOpts): Promise<Qmp> {
    const socket = typeof where === 'string' ? connect(where) : connect(where);
    await once(socket, 'connect');
    const client = new Qmp(socket);
    await client.#reply();
    await client.execute('qmp_capabilities');
    return client;
  }

  /** @returns the `return` member @throws QmpFailure for an error reply */
  async execute(command: string, args?: Record<string, Json>): Promise<Json> {
    this.send({ execute: command, ...(args === undefined ? {} : { arguments: args }) });
    const reply = await this.#reply();
    const error = reply['error'] as { class: string; desc: string } | undefined;
    if (error !== undefined) throw new QmpFailure(error.class, error.desc);
    return reply['return'] ?? null;
  }
  /** Sends a message and waits for nothing. */
  send(message: Json): void {
    this.#socket.write(writeJson(message));
  }
  /** The next event of that name, already here or to come; earlier ones of other names stay. */
  async event(name: string): Promise<QmpEvent> {
    for (;;) {
      const at = this.#events.findIndex(({ event }) => event === name);
      const [found] = at < 0 ? [] : this.#events.splice(at, 1);
      if (found !== undefined) return found;
      await this.#more();
    }
  }
  /** Settles when the server has closed the connection. */
  async closed(): Promise<void> {
    while (!this.#closed) await this.#more(true);
  }
  close(): void {
    this.#socket.destroy();
  }

  async #reply(): Promise<Message> {
    for (;;) {
      const reply = this.#replies.shift();
      if (reply !== undefined) return reply;
      await this.#more();
    }
  }
  #more(closeIsFine = false): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed && !closeIsFine) {
        reject(new Error('the server closed the connection'));
        return;
      }
      const timer = setTimeout(() => reject(new Error('nothing came in time')), 10_000);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
  #receive(text: string): void {
    const lines = (this.#partial + text).split('\r\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.#sort(readJson(line) as Message);
    this.#wake?.();
  }
  #sort(message: Message): void {
    if (message['event'] === undefined) {
      if (message['QMP'] === undefined) this.order.push('return' in message ? 'return' : 'error');
      this.#replies.push(message);
    } else {
      this.order.push(String(message['event']));
      this.#events.push(message as unknown as QmpEvent);
    }
  }
}
