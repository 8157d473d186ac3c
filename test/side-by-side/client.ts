import type { Socket } from 'node:net';

/** A JSON value with exact integers: `bigint` without fraction or exponent, else `number`. */
export type Json =
  null | boolean | bigint | number | string | readonly Json[] | { readonly [key: string]: Json };

/** How long a server may take for one message before the test gives up on it. */
const PATIENCE_MS = 30_000;

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Reads JSON without rounding: numbers travel through `JSON.parse` as strings with a mark. */
export const readJson = (text: string): Json => {
  const marked = text.replace(TOKEN, (token) =>
    token.startsWith('"') ? `"s${token.slice(1)}` : `"n${token}"`,
  );
  return unmark(JSON.parse(marked) as unknown);
};

const unmark = (value: unknown): Json => {
  if (typeof value === 'string') {
    const text = value.slice(1);
    if (value.startsWith('s')) return text;
    return /[.eE]/.test(text) ? Number(text) : BigInt(text);
  }
  if (Array.isArray(value)) return value.map(unmark);
  if (typeof value !== 'object' || value === null) return value as null | boolean;
  const members = Object.entries(value).map(([key, member]) => [key.slice(1), unmark(member)]);
  return Object.fromEntries(members) as Json;
};

/** Writes JSON with exact integers and members in insertion order. */
export const writeJson = (value: Json): string => {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(writeJson).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value as { readonly [key: string]: Json });
  return `{${members.map(([key, item]) => `${JSON.stringify(key)}: ${writeJson(item)}`).join(', ')}}`;
};

const member = (message: Json, name: string): Json | undefined =>
  typeof message === 'object' && message !== null && !Array.isArray(message)
    ? (message as { readonly [key: string]: Json })[name]
    : undefined;

/** One QMP dialogue over a connected socket, the messages in order of arrival. */
export class Client {
  readonly #socket: Socket;
  readonly #inbox: Json[] = [];
  #partial = '';
  #ended = false;
  /** Wakes the one reader that waits. */
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#receive(text));
    socket.on('error', () => this.#end());
    socket.on('close', () => this.#end());
  }

  /** Takes the greeting and leaves negotiation. */
  static async open(socket: Socket): Promise<Client> {
    const client = new Client(socket);
    await client.#next();
    await client.request('{"execute": "qmp_capabilities"}');
    return client;
  }

  /**
   * Sends one request and waits for its reply and for the events of `deleted` devices. QEMU sends
   * these from another thread: on a busy computer some come before the reply. They are put after it.
   *
   * @returns events and reply in order of arrival but for that, timestamps removed
   */
  async request(text: string, deleted = 0): Promise<Json[]> {
    this.#socket.write(text);
    const messages: Json[] = [];
    const deletions: Json[] = [];
    for (let isAnswered = false; !isAnswered || deletions.length < deleted;) {
      const message = await this.#next();
      const event = member(message, 'event');
      isAnswered ||= event === undefined;
      (event === 'DEVICE_DELETED' ? deletions : messages).push(message);
    }
    return [...messages, ...deletions].map(withoutTimestamp);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #next(): Promise<Json> {
    while (this.#inbox.length === 0) {
      if (this.#ended) throw new Error('the server closed the connection');
      await this.#more();
    }
    return this.#inbox.shift() as Json;
  }

  /** @throws Error when nothing arrives in `PATIENCE_MS` */
  async #more(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no answer within ${String(PATIENCE_MS)} ms`)),
        PATIENCE_MS,
      );
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  #receive(text: string): void {
    const lines = (this.#partial + text).split('\r\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.#inbox.push(readJson(line));
    this.#wake?.();
  }
}

const withoutTimestamp = (message: Json): Json => {
  if (member(message, 'timestamp') === undefined) return message;
  const { timestamp: _, ...rest } = message as { readonly [key: string]: Json };
  return rest;
};
