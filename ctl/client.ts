import { randomUUID } from 'node:crypto';
import { isJsonObject, type JsonObject, type JsonValue } from '../schema/json.js';
import { ChannelError, isPort, openChannel, type Channel } from './channel.js';
import { ObjectSplitter, parseJson, writeJson } from './json.js';

/** The server refused a command: class and text as it said them. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly class: string;
  constructor(errorClass: string, desc: string) {
    super(desc);
    this.class = errorClass;
  }
}
/** There is no connection, or there is none any more. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  /** Where nobody was reached; undefined: somebody was, or several were tried. */
  readonly address: string | undefined;
  /** `ENOENT` and the like, or `HTTP` and a status. */
  readonly code: string | undefined;
  constructor(message: string, { address, code, ...options }: Failure = {}) {
    super(message, options);
    this.address = address;
    this.code = code;
  }
}
interface Failure extends ErrorOptions {
  readonly address?: string | undefined;
  readonly code?: string | undefined;
}

interface Pending {
  resolve(value: JsonValue): void;
  reject(error: Error): void;
}
export interface ClientOptions {
  /** Path of a UNIX socket, HOST:PORT, or a `ws://` URL. */
  readonly address: string;
  /** Milliseconds until the greeting must have come: a QEMU that is busy accepts and says nothing. */
  readonly greetingTimeoutMs?: number;
  /** Milliseconds until `onNote` is told that no greeting has come yet. */
  readonly greetingNoteMs?: number;
  /** Bearer token, for WebSocket. */
  readonly token?: string | undefined;
  /** Asks for out-of-band execution, where the server has it. */
  readonly outOfBand?: boolean;
  /** Ends the connection, or the wait for it. */
  readonly signal?: AbortSignal;
  /** Every event, from the end of negotiation on. */
  readonly onEvent?: (event: JsonObject) => void;
  /** Told in words what a person who waits should know. */
  readonly onNote?: (text: string) => void;
}

type Settled = { readonly value: JsonValue } | { readonly error: Error };

const isReply = (message: JsonObject): boolean => 'return' in message || 'error' in message;
const errorOf = (error: JsonValue | undefined): CommandError => {
  const { class: errorClass, desc } = isJsonObject(error) ? error : {};
  return new CommandError(String(errorClass ?? 'GenericError'), String(desc ?? 'no description'));
};

/** One QMP session: greeting, negotiation, commands, events. Integers are exact both ways. */
export class QmpClient {
  readonly #options: ClientOptions;
  readonly #splitter = new ObjectSplitter();
  /** Requests without an answer, by the text of their id. */
  readonly #pending = new Map<string, Pending>();
  #channel: Channel | undefined;
  /** Foreign to every other session: QEMU may send a late reply to whoever is connected. */
  readonly #idPrefix = randomUUID();
  #requests = 0;
  #greeting: JsonObject = {};
  #over: ConnectionError | undefined;
  #onOver: ((reason: ConnectionError) => void) | undefined;
  /** The first characters that came. */
  #opening = '';

  private constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** @throws ConnectionError with one line that says what is wrong */
  static async connect(options: ClientOptions): Promise<QmpClient> {
    const client = new QmpClient(options);
    try {
      await client.#start();
      await client.#negotiate();
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  /**
   * Runs one command.
   *
   * @param isOutOfBand at once, ahead of commands that wait
   * @throws CommandError when the server refuses
   * @throws ConnectionError when the connection ends before the reply
   */
  execute(command: string, args?: JsonObject, isOutOfBand = false): Promise<JsonValue> {
    const id = `${this.#idPrefix}-${String(++this.#requests)}`;
    const request: JsonObject = { [isOutOfBand ? 'exec-oob' : 'execute']: command, id };
    if (args !== undefined && Object.keys(args).length > 0) request['arguments'] = args;
    return this.#answer(id, () => this.#channel?.send(`${writeJson(request)}\n`));
  }

  /** What the greeting says under `QMP`: version and capabilities. */
  get greeting(): JsonObject {
    return this.#greeting;
  }

  /** Settles when the connection is gone, with the reason. */
  over(): Promise<ConnectionError> {
    return new Promise((resolve) => {
      if (this.#over !== undefined) resolve(this.#over);
      else this.#onOver = resolve;
    });
  }

  close(): void {
    this.#channel?.close();
  }

  async #start(): Promise<void> {
    const { address, greetingTimeoutMs = 10_000, greetingNoteMs = 3000 } = this.#options;
    const greeting = this.#answer(GREETING, () => undefined);
    // Awaited below; until then a failure must not count as unhandled.
    greeting.catch(() => undefined);
    const handlers = {
      onText: (text: string) => this.#read(text),
      onClose: (reason: string | undefined) =>
        this.#end(reason ?? 'the server closed the connection'),
    };
    this.#channel = await openChannel(address, handlers, this.#options).catch((error: unknown) => {
      const code = error instanceof ChannelError ? error.code : undefined;
      const text = `cannot connect to ${address}: ${(error as Error).message}`;
      throw new ConnectionError(text, { cause: error, address, code });
    });
    const timer = setTimeout(() => this.#end(silenceOf(address)), greetingTimeoutMs);
    const early = setTimeout(() => this.#options.onNote?.(notYet(address)), greetingNoteMs);
    try {
      const message = await greeting;
      const hello = isJsonObject(message) ? message['QMP'] : undefined;
      if (isJsonObject(hello)) this.#greeting = hello;
    } finally {
      clearTimeout(timer);
      clearTimeout(early);
    }
  }

  async #negotiate(): Promise<void> {
    const { capabilities } = this.#greeting;
    const isOffered = Array.isArray(capabilities) && capabilities.includes('oob');
    const enables = isOffered && this.#options.outOfBand === true;
    await this.execute('qmp_capabilities', enables ? { enable: ['oob'] } : {});
  }

  #answer(id: string, send: () => void): Promise<JsonValue> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) return reject(this.#over);
      this.#pending.set(id, { resolve, reject });
      send();
    });
  }

  #read(text: string): void {
    this.#opening += text.slice(0, HTTP.length - this.#opening.length);
    if (this.#opening === HTTP) {
      this.#end(`an HTTP server is there, ${asWebSocket(this.#options.address)}`);
      this.close();
      return;
    }
    try {
      for (const found of this.#splitter.push(text)) this.#receive(parseJson(found));
    } catch (error) {
      this.#end(`it does not speak QMP: ${(error as Error).message}`);
      this.close();
    }
  }

  #receive(message: JsonValue): void {
    if (!isJsonObject(message)) throw new SyntaxError('a message is not an object');
    if ('event' in message) this.#options.onEvent?.(message);
    else if ('QMP' in message) this.#settle(GREETING, { value: message });
    else if (isReply(message)) this.#reply(message);
    else throw new SyntaxError('a message is neither greeting, reply nor event');
  }

  /** An error without id answers something that could not be read: it belongs to the oldest request. */
  #reply(message: JsonObject): void {
    const oldest = this.#pending.keys().next().value ?? '';
    const id = typeof message['id'] === 'string' ? message['id'] : oldest;
    const { return: value } = message;
    this.#settle(id, value === undefined ? { error: errorOf(message['error']) } : { value });
  }

  #settle(id: string, settled: Settled): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if ('error' in settled) pending?.reject(settled.error);
    else pending?.resolve(settled.value);
  }

  #end(reason: string): void {
    this.#over ??= new ConnectionError(`${this.#options.address}: ${reason}`);
    for (const pending of this.#pending.values()) pending.reject(this.#over);
    this.#pending.clear();
    this.#onOver?.(this.#over);
  }
}

/** Stands for the greeting among the requests. */
const GREETING = 'greeting';
/** How the answer of an HTTP server begins. */
const HTTP = 'HTTP/';

const asWebSocket = (address: string): string =>
  `reached as ws://${isPort(address) ? address : 'HOST:PORT'}`;

const notYet = (address: string): string =>
  `connected to ${address}, but no greeting yet; QEMU serves one client at a time`;
/** Why a server may accept and say nothing. */
const silenceOf = (address: string): string => {
  const busy = 'no greeting came; a QEMU serves one client at a time';
  return isPort(address) ? `${busy}, and an HTTP port is ${asWebSocket(address)}` : busy;
};
