import { setTimeout as sleep } from 'node:timers/promises';
import { isJsonObject, type JsonObject, type JsonValue } from '../schema/json.js';
import { CommandError, ConnectionError, QmpClient, type ClientOptions } from './client.js';

/** Where an earlier watch ended. */
export interface Since {
  /** Of which start of the machine the number is; undefined: of this one. */
  readonly stream: string | undefined;
  readonly sequence: bigint;
}
export interface EventsOptions extends Omit<ClientOptions, 'onEvent' | 'onNote' | 'signal'> {
  /** Undefined: all. */
  readonly names: readonly string[] | undefined;
  readonly since: Since | undefined;
  /** Dials again when the connection is lost, and goes on behind the last event. */
  readonly reconnect: boolean;
  /** Ends it. */
  readonly done: AbortSignal;
  onEvent(event: JsonObject): void;
  /** Told in words what is known of the past, and what a person who waits should know. */
  onNote(text: string): void;
}

/** What `subscribe-events` returned. */
interface Place {
  readonly stream: string;
  readonly sequence: bigint;
  readonly lost: bigint;
}

const readPlace = (value: JsonValue): Place => {
  const { stream, sequence, lost } = isJsonObject(value) ? value : {};
  return {
    stream: typeof stream === 'string' ? stream : '',
    sequence: typeof sequence === 'bigint' ? sequence : 0n,
    lost: typeof lost === 'bigint' ? lost : 0n,
  };
};

/**
 * Subscribes where the server can.
 *
 * @returns undefined when it has no such command: it then sends all its events anyway
 * @throws CommandError when it refuses
 */
export const subscribe = async (
  client: QmpClient,
  args: JsonObject,
): Promise<Place | undefined> => {
  try {
    return readPlace(await client.execute('subscribe-events', args));
  } catch (error) {
    if (error instanceof CommandError && error.class === 'CommandNotFound') return undefined;
    throw error;
  }
};

/** Told by a machine that ends; asked for in any case. */
const SHUTDOWN = 'SHUTDOWN';

/** One connection that watches; events wait until it is known what they follow. */
class Watch {
  readonly #options: EventsOptions;
  readonly #waiting: JsonObject[] = [];
  #isOpen = false;
  #isShutDown = false;
  #position: Since | undefined;

  constructor(options: EventsOptions) {
    this.#options = options;
  }

  /** Whether the end of the connection is in order: the machine has said that it ends. */
  get isShutDown(): boolean {
    return this.#isShutDown;
  }
  /** Behind what another watch goes on; undefined where the server counts no events. */
  get position(): Since | undefined {
    return this.#position;
  }

  /** Takes an event as it comes. */
  receive(event: JsonObject): void {
    if (this.#isOpen) this.#give(event);
    else this.#waiting.push(event);
  }

  open(position: Since | undefined): void {
    this.#isOpen = true;
    this.#position = position;
    for (const event of this.#waiting.splice(0)) this.#give(event);
  }

  #give(event: JsonObject): void {
    const { event: name, seq } = event;
    if (this.#position !== undefined && typeof seq === 'bigint')
      this.#position = { ...this.#position, sequence: seq };
    // A QEMU may go on behind its SHUTDOWN (-no-shutdown).
    if (name === SHUTDOWN || name === 'RESUME') this.#isShutDown = name === SHUTDOWN;
    if (this.#isWanted(String(name), seq !== undefined)) this.#options.onEvent(event);
  }

  /** What carries `seq` comes of the subscription: the server has filtered it. */
  #isWanted(name: string, isFiltered: boolean): boolean {
    const { names } = this.#options;
    if (names === undefined || names.includes('*') || names.includes(name)) return true;
    return isFiltered && name !== SHUTDOWN;
  }
}

/** @returns why what follows `since` is not what came after it; undefined when it is */
const gapOf = (since: Since, place: Place): string | undefined => {
  if (since.stream !== undefined && since.stream !== place.stream)
    return `the machine has started anew, its stream is ${place.stream}`;
  if (since.sequence > place.sequence)
    return `the machine has started anew, it is at ${String(place.sequence)} of ${place.stream}`;
  return undefined;
};

const tell = (place: Place, { onNote }: EventsOptions): void => {
  if (place.lost > 0n) onNote(`${String(place.lost)} events are lost, they are kept no longer`);
};

/** @returns false when it has to begin at the beginning, on a new connection */
const begin = async (client: QmpClient, watch: Watch, options: EventsOptions): Promise<boolean> => {
  const { names, since, onNote } = options;
  const args: JsonObject = {};
  if (names !== undefined) args['events'] = [...new Set([...names, SHUTDOWN])];
  if (since !== undefined) args['since'] = since.sequence;
  const place = await subscribe(client, args);
  if (since !== undefined && place === undefined)
    throw new ConnectionError('this server keeps no events: --since needs subscribe-events');
  if (since !== undefined && place !== undefined) {
    const gap = gapOf(since, place);
    if (gap !== undefined) {
      onNote(`${gap}: what came between is lost; all that it keeps follows`);
      return false;
    }
    tell(place, options);
    onNote(`stream ${place.stream}, at ${String(place.sequence)}`);
  }
  watch.open(place && { stream: place.stream, sequence: since?.sequence ?? place.sequence });
  return true;
};

/** Events over one connection after another. */
class Watcher {
  readonly #options: EventsOptions;
  /** Behind what the next connection goes on; undefined: with what comes. */
  #since: Since | undefined;
  /** Connections that have given events, or could have. */
  #opened = 0;

  constructor(options: EventsOptions) {
    this.#options = options;
    this.#since = options.since;
  }

  /**
   * Watches until the machine ends, or the watch.
   *
   * @throws CommandError, ConnectionError when the connection is lost
   */
  async once(): Promise<void> {
    if (await this.#connect()) return;
    // A new connection: events of the first one, numbered already, must not mix with the replay.
    this.#since = { stream: undefined, sequence: 0n };
    await this.#connect();
  }

  /**
   * Watches until the watch ends; only the first connection must succeed.
   *
   * @throws CommandError, ConnectionError
   */
  async always(): Promise<void> {
    const { done, onNote } = this.#options;
    let told = '';
    for (let tries = 0; !done.aborted; tries++) {
      const before = this.#opened;
      const reason = await this.#untilLost();
      if (this.#opened > before) [tries, told] = [0, ''];
      if (done.aborted) return;
      if (reason !== told) onNote(`${reason}; trying again`);
      told = reason;
      // An interrupt ends the pause; the loop then ends.
      await sleep(pauseMs(tries), undefined, { signal: done }).catch(() => undefined);
    }
  }

  async #untilLost(): Promise<string> {
    try {
      await this.once();
      return 'the machine has ended';
    } catch (error) {
      if (!(error instanceof ConnectionError) || this.#opened === 0) throw error;
      return error.message;
    }
  }

  /** @returns false when it has to begin at the beginning */
  async #connect(): Promise<boolean> {
    const { done, onNote } = this.#options;
    const options = { ...this.#options, since: this.#since };
    const watch = new Watch(options);
    const onEvent = (event: JsonObject): void => watch.receive(event);
    const client = await QmpClient.connect({ ...options, signal: done, onEvent });
    try {
      if (!(await begin(client, watch, options))) return false;
      if (this.#opened++ > 0 && watch.position === undefined)
        onNote('connected again; what came between is lost');
      const reason = await client.over();
      if (!watch.isShutDown && !done.aborted) throw reason;
      return true;
    } finally {
      this.#since = watch.position ?? this.#since;
      client.close();
    }
  }
}

/** Before the next try: more and more, up to 5 s. */
export const pauseMs = (tries: number): number => Math.min(100 * 2 ** tries, 5000);

/**
 * Gives events as they come until the machine or `done` ends it. A server without subscribe-events
 * sends them all, and they are filtered here.
 *
 * @throws CommandError, ConnectionError when there is no connection, or it is lost
 */
export const watchEvents = async (options: EventsOptions): Promise<void> => {
  const watcher = new Watcher(options);
  try {
    await (options.reconnect ? watcher.always() : watcher.once());
  } catch (error) {
    if (!options.done.aborted || !(error instanceof ConnectionError)) throw error;
  }
};
