import { isJsonObject, type JsonObject, type JsonValue } from '../schema/json.js';
import { CommandError, ConnectionError, QmpClient, type ClientOptions } from './client.js';

/** Where an earlier watch ended. */
export interface Since {
  /** Of which start of the machine the number is; undefined: of this one. */
  readonly stream: string | undefined;
  readonly sequence: bigint;
}
export interface EventsOptions extends Omit<ClientOptions, 'onEvent'> {
  /** Undefined: all. */
  readonly names: readonly string[] | undefined;
  readonly since: Since | undefined;
  /** Ends it. */
  readonly done: AbortSignal;
  onEvent(event: JsonObject): void;
  /** Told in words what is known of the past. */
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

/** One connection that watches; events wait until it is known what they follow. */
class Watch {
  readonly #options: EventsOptions;
  readonly #waiting: JsonObject[] = [];
  #isOpen = false;

  constructor(options: EventsOptions) {
    this.#options = options;
  }

  /** Takes an event as it comes. */
  receive(event: JsonObject): void {
    const { names, onEvent } = this.#options;
    const wanted = names === undefined || names.includes('*');
    // What carries `seq` comes of the subscription: the server has filtered it.
    if (!wanted && !('seq' in event) && !names.includes(String(event['event']))) return;
    if (this.#isOpen) onEvent(event);
    else this.#waiting.push(event);
  }

  open(): void {
    this.#isOpen = true;
    for (const event of this.#waiting.splice(0)) this.#options.onEvent(event);
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
  if (names !== undefined) args['events'] = [...names];
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
  watch.open();
  return true;
};

const watchOnce = async (options: EventsOptions): Promise<boolean> => {
  const watch = new Watch(options);
  const client = await QmpClient.connect({
    ...options,
    onEvent: (event) => watch.receive(event),
  });
  const close = (): void => client.close();
  options.done.addEventListener('abort', close);
  try {
    if (!(await begin(client, watch, options))) return false;
    if (options.done.aborted) close();
    await client.over();
    return true;
  } finally {
    options.done.removeEventListener('abort', close);
    client.close();
  }
};

/**
 * Gives events as they come until the server or `done` ends it. A server without subscribe-events
 * sends them all, and they are filtered here.
 *
 * @throws CommandError, ConnectionError
 */
export const watchEvents = async (options: EventsOptions): Promise<void> => {
  if (await watchOnce(options)) return;
  // A new connection: events of the first one, numbered already, must not mix with the replay.
  await watchOnce({ ...options, since: { stream: undefined, sequence: 0n } });
};
