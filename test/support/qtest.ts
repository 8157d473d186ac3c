import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Daemon } from '../../server/daemon.js';
import { privateFolder, startDaemon, type Cleanup } from './daemon.js';
import type { Qmp } from './qmp.js';

const PATIENCE_MS = 10_000;

/** A qtest client for tests: one request at a time, interrupt lines kept in order of arrival. */
export class Qtest {
  /** `IRQ raise N` and `IRQ lower N`, as they came. */
  readonly interrupts: string[] = [];
  readonly #socket: Socket;
  #partial = '';
  #replies: string[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#receive(text));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  static async connect(path: string): Promise<Qtest> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new Qtest(socket);
  }

  /** Sends one line, without its end, and returns the reply to it. */
  async ask(line: string): Promise<string> {
    this.send(`${line}\n`);
    return this.reply();
  }
  /** The replies to many lines sent at once. */
  async askAll(lines: readonly string[]): Promise<string[]> {
    this.send(lines.map((line) => `${line}\n`).join(''));
    const replies: string[] = [];
    while (replies.length < lines.length) replies.push(await this.reply());
    return replies;
  }
  send(text: string | Buffer): void {
    this.#socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  }
  /** The next reply. @throws when none comes */
  async reply(): Promise<string> {
    for (;;) {
      const reply = this.#replies.shift();
      if (reply !== undefined) return reply;
      if (this.#closed) throw new Error('the server closed the qtest connection');
      await this.#more();
    }
  }
  /** What a read answered. @throws when it was refused */
  async value(line: string): Promise<bigint> {
    const reply = await this.ask(line);
    if (!reply.startsWith('OK 0x')) throw new Error(`${line}: ${reply}`);
    return BigInt(reply.slice(3));
  }
  /** Interrupt lines so far, which are then forgotten. */
  takeInterrupts(): string[] {
    return this.interrupts.splice(0);
  }
  /** Settles when the server has closed the connection. */
  async closed(): Promise<void> {
    while (!this.#closed) await this.#more();
  }
  pause(): void {
    this.#socket.pause();
  }
  resume(): void {
    this.#socket.resume();
  }
  /** Sends no more, but reads on. */
  end(): void {
    this.#socket.end();
  }
  close(): void {
    this.#socket.destroy();
  }

  #more(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nothing came in time')), PATIENCE_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
  #receive(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines)
      (line.startsWith('IRQ ') ? this.interrupts : this.#replies).push(line);
    this.#wake?.();
  }
}

/** A function of a machine, addressed through ports 0xcf8 and 0xcfc. */
export class ConfigAccess {
  readonly #qtest: Qtest;
  readonly #address: number;

  constructor(qtest: Qtest, slot: number, { fn = 0, bus = 0 } = {}) {
    this.#qtest = qtest;
    this.#address = 2 ** 31 + bus * 65_536 + slot * 2048 + fn * 256;
  }

  async read(register: number, size: 1 | 2 | 4 = 4): Promise<number> {
    await this.#select(register);
    return Number(await this.#qtest.value(`in${letter(size)} ${port(register)}`));
  }
  async write(register: number, value: number, size: 1 | 2 | 4 = 4): Promise<void> {
    await this.#select(register);
    await this.#qtest.ask(`out${letter(size)} ${port(register)} ${String(value)}`);
  }
  async #select(register: number): Promise<void> {
    await this.#qtest.ask(`outl 0xcf8 ${String(this.#address + (register & 0xfc))}`);
  }
}

const letter = (size: 1 | 2 | 4): string => ({ 1: 'b', 2: 'w', 4: 'l' })[size];
const port = (register: number): string => `0x${(0xcfc + (register & 3)).toString(16)}`;

export interface Guest {
  readonly daemon: Daemon;
  readonly qmp: Qmp;
  readonly qtest: Qtest;
  readonly qtestSocket: string;
  /** Configuration space of a slot on the root bus. */
  config(slot: number, at?: { fn?: number; bus?: number }): ConfigAccess;
}

/** A daemon in this process with a monitor and a qtest client. */
export const startGuest = async (t: Cleanup, words: readonly string[]): Promise<Guest> => {
  const qtestSocket = join(privateFolder(t), 'qtest.sock');
  const { daemon, qmp } = await startDaemon(t, [
    ...words,
    ...['-qtest', `unix:${qtestSocket},server=on,wait=off`],
  ]);
  const qtest = await Qtest.connect(qtestSocket);
  t.teardown(() => qtest.close());
  return {
    daemon,
    qmp,
    qtest,
    qtestSocket,
    config: (slot, at) => new ConfigAccess(qtest, slot, at),
  };
};

/** Listens on `path` as a test library does; the first client that comes. */
export const listenOnce = async (
  t: Cleanup,
  path: string,
): Promise<{ server: Server; client: Promise<Socket> }> => {
  const server = createServer();
  const client = new Promise<Socket>((resolve) => server.once('connection', resolve));
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { server, client };
};
